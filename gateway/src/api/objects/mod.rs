//! Object stores: objects of any size, as streams. The building block is Mecha's own.
//!
//! # Over HTTP
//!
//! | request | what it does |
//! |---|---|
//! | `PUT /v1.0-alpha1/objects/STORE/KEY` | stores the body, whatever its length, as an object |
//! | `GET …/STORE/KEY` | the object, or the part that `Range` names (206; 416 when there is none of it) |
//! | `HEAD …/STORE/KEY` | the headers of `GET`, without the body |
//! | `DELETE …/STORE/KEY` | deletes it: 204, also when it was not there |
//! | `GET …/STORE?prefix=&delimiter=&cursor=&limit=` | one page: `{"objects":[…],"prefixes":[…],"cursor":"…"}`; no `cursor` = the last page |
//! | `POST …/STORE/copy` with `{"source","target","sourceIfMatch"}` | copies inside the store |
//! | `POST …/STORE/presign` with `{"key","method","expiresInSeconds","contentType"}` | `{"url","method","headers"}`: an address for anybody |
//!
//! `KEY` is the rest of the path, slashes included. As in every path of this API, doubled and closing slashes and `.` and `..`
//! between slashes are cleaned away; a key that has them must be percent-encoded. A `+` is a plus.
//!
//! **Bodies are streams** in both directions. `--max-body-size` does not apply to them, because they never lie in memory whole: the
//! store takes the next piece when it is done with the last one, and the caller's socket waits for the store. An object
//! appears whole, when its last byte is there, or not at all: when the caller breaks off, what was written is removed.
//! A `GET` that fails on its way ends without its last bytes, which `Content-Length` shows.
//!
//! **Headers.** `Content-Type` and every `mecha-meta-NAME` are kept with the object and come back with it (2 KiB of ASCII in
//! all, names in lower case). Answers have `ETag`, `Last-Modified`, `Content-Length` and `Accept-Ranges`. `If-Match` and
//! `If-None-Match` work on every request for one object (412; for `GET` and `HEAD` with `If-None-Match` 304), so that `PUT` with
//! `If-None-Match: *` creates and never replaces, and `PUT` with `If-Match` loses no other writer's object. `Range` knows one range;
//! of several, as of what cannot be read, it takes no notice. `If-Range` takes an etag.
//!
//! `metadata.NAME=VALUE` in the query is passed to the store, as everywhere in this API.
//!
//! # Over gRPC
//!
//! The service `mecha.objects.v1.Objects` on the same port, with the same token, has the same operations. `Put` and `Get` are streams:
//! a message with the head, then pieces.
//!
//! # Errors
//!
//! | code | HTTP | gRPC | |
//! |---|---|---|---|
//! | `ERR_OBJECT_STORE_NOT_CONFIGURED` | 500 | FAILED_PRECONDITION | there is no object store at all |
//! | `ERR_OBJECT_STORE_NOT_FOUND` | 400 | INVALID_ARGUMENT | not this one |
//! | `ERR_OBJECT_NOT_FOUND` | 404 | NOT_FOUND | |
//! | `ERR_OBJECT_PRECONDITION_FAILED` | 412 | ABORTED | a condition does not hold |
//! | `ERR_OBJECT_RANGE` | 416 | OUT_OF_RANGE | none of the range lies in the object; `Content-Range` has its size |
//! | `ERR_OBJECT_INVALID` | 400 | INVALID_ARGUMENT | a key, a cursor, a field that cannot be |
//! | `ERR_OBJECT_INCOMPLETE` | 400 | INVALID_ARGUMENT | the body broke off, or is not as long as it was said to be |
//! | `ERR_OBJECT_DENIED` | 403 | PERMISSION_DENIED | the store's server says so |
//! | `ERR_OBJECT_UNSUPPORTED` | 501 | UNIMPLEMENTED | this store cannot |
//! | `ERR_OBJECT_STORE_THROTTLED` | 429 | RESOURCE_EXHAUSTED | may be tried again |
//! | `ERR_OBJECT_STORE_UNAVAILABLE` | 503 | UNAVAILABLE | may be tried again |
//! | `ERR_OBJECT_STORE_TIMEOUT` | 504 | DEADLINE_EXCEEDED | may be tried again |
//! | `ERR_OBJECT_STORE` | 500 | INTERNAL | everything else |

mod error;
pub(crate) mod grpc;
mod headers;
pub(crate) mod http;
mod service;
