//! Who the runtime serves: one application's identity. Passed along, never global, so that one process can serve many.

use mecha_plugin_api::{RArc, RString};

/// An application's identity.
pub struct App {
    /// The application's id.
    pub id: Box<str>,
    /// Its namespace; empty when none is set.
    pub namespace: Box<str>,
    /// The pod it runs in, where there is one.
    pub pod_name: Option<Box<str>>,
    /// The token that callers of the API must show.
    pub api_token: Option<Box<str>>,
    /// The id as plugins get it: made once, shared by all calls.
    boundary_id: RArc<RString>,
}

impl App {
    /// An application without a token.
    pub fn new(id: impl Into<Box<str>>, namespace: impl Into<Box<str>>) -> Self {
        let id = id.into();
        let boundary_id = RArc::new(RString::from(&*id));
        Self { id, namespace: namespace.into(), pod_name: None, api_token: None, boundary_id }
    }

    pub(crate) fn boundary_id(&self) -> RArc<RString> {
        self.boundary_id.clone()
    }
}
