//! From method and path to a route: the block's name picks the block, which knows its own routes.

use http::Method;

use super::path::Path;
use super::request::Request;
use super::response::Reply;
use crate::api::{
    bindings, configuration, conversation, crypto, health, invoke, lock, metadata, objects, publish, secrets,
    shutdown, state,
};
use crate::error::ApiError;

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    State(state::http::Route<'a>),
    Secrets(secrets::http::Route<'a>),
    Binding(bindings::http::Route<'a>),
    Publish(publish::http::Route<'a>),
    Configuration(configuration::http::Route<'a>),
    Lock(lock::http::Route<'a>),
    Crypto(crypto::http::Route<'a>),
    Conversation(conversation::http::Route<'a>),
    Objects(objects::http::Route<'a>),
    Metadata(metadata::http::Route<'a>),
    Health(health::http::Route),
    Shutdown,
    /// Everything else, wrong methods included: a service invocation, with or without a target.
    Unknown,
}

impl<'a> Route<'a> {
    /// Finds the route of a request.
    pub(crate) fn of(method: &Method, path: &'a Path<'_>) -> Self {
        let (version, block, rest) = path.parts();
        let route = match (version, block) {
            ("v1.0" | "v1.0-alpha1", "state") => {
                state::http::Route::of(version, method, rest).map(Route::State)
            }
            ("v1.0", "secrets") => secrets::http::Route::of(method, rest).map(Route::Secrets),
            ("v1.0", "bindings") => bindings::http::Route::of(method, rest).map(Route::Binding),
            ("v1.0" | "v1.0-alpha1", "publish") => {
                publish::http::Route::of(version, method, rest).map(Route::Publish)
            }
            ("v1.0" | "v1.0-alpha1", "configuration") => {
                configuration::http::Route::of(method, rest).map(Route::Configuration)
            }
            ("v1.0-alpha1", "lock" | "unlock") => lock::http::Route::of(block, method, rest).map(Route::Lock),
            ("v1.0-alpha1", "crypto") => crypto::http::Route::of(method, rest).map(Route::Crypto),
            ("v1.0-alpha1" | "v1.0-alpha2", "conversation") => {
                conversation::http::Route::of(version, method, rest).map(Route::Conversation)
            }
            ("v1.0-alpha1", "objects") => objects::http::Route::of(method, rest).map(Route::Objects),
            ("v1.0", "metadata") => metadata::http::Route::of(method, rest).map(Route::Metadata),
            ("v1.0", "healthz") => health::http::Route::of(method, rest).map(Route::Health),
            ("v1.0", "shutdown") => (method == Method::POST && rest.is_empty()).then_some(Route::Shutdown),
            _ => None,
        };
        route.unwrap_or(Route::Unknown)
    }

    /// The route's part of the API as the Configuration's lists name it, `VERSION/NAME`; `None` for what is always there.
    pub(crate) fn part(&self) -> Option<&'static str> {
        match self {
            Self::State(state::http::Route::Query { .. }) => Some("v1.0-alpha1/state"),
            Self::State(_) => Some("v1.0/state"),
            Self::Secrets(_) => Some("v1.0/secrets"),
            Self::Binding(_) => Some("v1.0/bindings"),
            Self::Publish(_) => Some("v1.0/publish"),
            Self::Configuration(_) => Some("v1.0/configuration"),
            Self::Lock(lock::http::Route::Lock { .. }) => Some("v1.0-alpha1/lock"),
            Self::Lock(lock::http::Route::Unlock { .. }) => Some("v1.0-alpha1/unlock"),
            Self::Crypto(_) => Some("v1.0-alpha1/crypto"),
            Self::Conversation(conversation::http::Route::Alpha1 { .. }) => Some("v1.0-alpha1/conversation"),
            Self::Conversation(conversation::http::Route::Alpha2 { .. }) => Some("v1.0-alpha2/conversation"),
            Self::Objects(_) => Some("v1.0-alpha1/objects"),
            Self::Metadata(_) => Some("v1.0/metadata"),
            Self::Shutdown => Some("v1.0/shutdown"),
            Self::Health(_) | Self::Unknown => None,
        }
    }

    /// Whether the block reads the body while it arrives ([`Request::stream`]). The largest size of a body does not apply to
    /// it then: it never lies in memory whole.
    pub(crate) fn wants_stream(&self) -> bool {
        matches!(self, Self::Crypto(_) | Self::Objects(objects::http::Route::Put { .. }) | Self::Unknown)
    }

    /// Whether the public port has it too.
    pub(crate) fn is_public(&self) -> bool {
        matches!(self, Self::Health(_) | Self::Metadata(metadata::http::Route::Get))
    }

    /// Has the block answer.
    pub(crate) async fn answer(self, request: &Request<'_>) -> Result<Reply, ApiError> {
        match self {
            Self::State(route) => state::http::answer(route, request).await,
            Self::Secrets(route) => secrets::http::answer(route, request).await,
            Self::Binding(route) => bindings::http::answer(route, request).await,
            Self::Publish(route) => publish::http::answer(route, request).await,
            Self::Configuration(route) => configuration::http::answer(route, request).await,
            Self::Lock(route) => lock::http::answer(route, request).await,
            Self::Crypto(route) => crypto::http::answer(route, request).await,
            Self::Conversation(route) => conversation::http::answer(route, request).await,
            Self::Objects(route) => objects::http::answer(route, request).await,
            Self::Metadata(route) => Ok(metadata::http::answer(route, request)),
            Self::Health(route) => health::http::answer(route, request.runtime, request.head),
            Self::Shutdown => Ok(shutdown::http::answer(request)),
            Self::Unknown => invoke::http::answer(request).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_unknown(method: &Method, raw: &str) -> bool {
        Route::of(method, &Path::parse(raw).unwrap()) == Route::Unknown
    }

    #[test]
    fn the_parts_of_a_path_are_decoded() {
        let path = Path::parse("/v1.0/state/s/a%2Fb+c").unwrap();
        let route = state::http::Route::Get { store: "s".into(), key: "a/b c".into() };
        assert_eq!(Route::of(&Method::GET, &path), Route::State(route));
    }

    #[test]
    fn wrong_methods_and_paths_are_unknown() {
        for (method, path) in [
            (Method::PATCH, "/v1.0/state/s/k"),
            (Method::GET, "/v1.0/state/s"),
            (Method::GET, "/"),
            (Method::GET, "/v1.0/state/s/k/more/and/more"),
            (Method::GET, "/v2.0/state/s/k"),
            (Method::GET, "/v1.0/healthz/x"),
            (Method::POST, "/v1.0/metadata"),
        ] {
            assert!(is_unknown(&method, path), "{method} {path}");
        }
    }
}
