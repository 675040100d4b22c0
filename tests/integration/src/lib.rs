//! Tests of the built binary, from the outside; see the folder `tests`.
