//! The plugins that are shipped, held to the checks of their capabilities; see the folder `tests`.
