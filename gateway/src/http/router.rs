//! From method and path to a route, by hand: a look at a few segments beats a general matcher.

use http::Method;

use super::request::unescape;

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    GetState {
        store: String,
        key: String,
    },
    SaveState {
        store: String,
    },
    DeleteState {
        store: String,
        key: String,
    },
    BulkGetState {
        store: String,
    },
    StateTransaction {
        store: String,
    },
    GetSecret {
        store: String,
        key: String,
    },
    BulkGetSecret {
        store: String,
    },
    InvokeBinding {
        name: String,
    },
    GetMetadata,
    SetMetadata {
        key: String,
    },
    Health,
    OutboundHealth,
    Shutdown,
    /// Everything else, wrong methods included: Dapr takes it for a service invocation without a target.
    Unknown,
    /// A path with an escape that cannot be decoded.
    BadPath,
}

impl Route {
    /// The path with placeholders: a label of bounded variety.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::GetState { .. } | Self::DeleteState { .. } => "/v1.0/state/{store}/{key}",
            Self::SaveState { .. } => "/v1.0/state/{store}",
            Self::BulkGetState { .. } => "/v1.0/state/{store}/bulk",
            Self::StateTransaction { .. } => "/v1.0/state/{store}/transaction",
            Self::GetSecret { .. } => "/v1.0/secrets/{store}/{key}",
            Self::BulkGetSecret { .. } => "/v1.0/secrets/{store}/bulk",
            Self::InvokeBinding { .. } => "/v1.0/bindings/{name}",
            Self::GetMetadata => "/v1.0/metadata",
            Self::SetMetadata { .. } => "/v1.0/metadata/{key}",
            Self::Health => "/v1.0/healthz",
            Self::OutboundHealth => "/v1.0/healthz/outbound",
            Self::Shutdown => "/v1.0/shutdown",
            Self::Unknown | Self::BadPath => "",
        }
    }

    /// The building block, as the Configuration's API lists name it; `None` for what is always allowed.
    pub(crate) fn block(&self) -> Option<&'static str> {
        match self {
            Self::GetState { .. }
            | Self::SaveState { .. }
            | Self::DeleteState { .. }
            | Self::BulkGetState { .. }
            | Self::StateTransaction { .. } => Some("state"),
            Self::GetSecret { .. } | Self::BulkGetSecret { .. } => Some("secrets"),
            Self::InvokeBinding { .. } => Some("bindings"),
            Self::GetMetadata | Self::SetMetadata { .. } => Some("metadata"),
            Self::Shutdown => Some("shutdown"),
            Self::Health | Self::OutboundHealth | Self::Unknown | Self::BadPath => None,
        }
    }

    pub(crate) fn is_health(&self) -> bool {
        matches!(self, Self::Health | Self::OutboundHealth)
    }

    pub(crate) fn of(method: &Method, path: &str) -> Self {
        let mut segments = [""; 5];
        let mut count = 0;
        // Empty segments vanish as in chi's CleanPath; a trailing slash counts for nothing.
        for segment in path.split('/').filter(|segment| !segment.is_empty() && *segment != ".") {
            if count == segments.len() || segment == ".." {
                return Self::Unknown;
            }
            segments[count] = segment;
            count += 1;
        }
        let (writes, reads) = (method == Method::POST || method == Method::PUT, method == Method::GET);
        let one = |make: fn(String) -> Self, part: &str| unescape(part).map_or(Self::BadPath, make);
        let two = |make: fn(String, String) -> Self, first: &str, second: &str| match (
            unescape(first),
            unescape(second),
        ) {
            (Some(first), Some(second)) => make(first, second),
            _ => Self::BadPath,
        };
        match &segments[..count] {
            ["v1.0", "state", store, "bulk"] if writes => one(|store| Self::BulkGetState { store }, store),
            ["v1.0", "state", store, "transaction"] if writes => {
                one(|store| Self::StateTransaction { store }, store)
            }
            ["v1.0", "state", store, key] if reads => {
                two(|store, key| Self::GetState { store, key }, store, key)
            }
            ["v1.0", "state", store, key] if method == Method::DELETE => {
                two(|store, key| Self::DeleteState { store, key }, store, key)
            }
            ["v1.0", "state", store] if writes => one(|store| Self::SaveState { store }, store),
            ["v1.0", "secrets", store, "bulk"] if reads => one(|store| Self::BulkGetSecret { store }, store),
            ["v1.0", "secrets", store, key] if reads => {
                two(|store, key| Self::GetSecret { store, key }, store, key)
            }
            ["v1.0", "bindings", name] if writes => one(|name| Self::InvokeBinding { name }, name),
            ["v1.0", "metadata"] if reads => Self::GetMetadata,
            ["v1.0", "metadata", key] if method == Method::PUT => one(|key| Self::SetMetadata { key }, key),
            ["v1.0", "healthz"] if reads => Self::Health,
            ["v1.0", "healthz", "outbound"] if reads => Self::OutboundHealth,
            ["v1.0", "shutdown"] if method == Method::POST => Self::Shutdown,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_route_is_found_and_its_parts_decoded() {
        let state = |store: &str, key: &str| Route::GetState { store: store.into(), key: key.into() };
        assert_eq!(Route::of(&Method::GET, "/v1.0/state/s/a%2Fb+c"), state("s", "a/b c"));
        assert_eq!(Route::of(&Method::GET, "//v1.0/state//s/k/"), state("s", "k"));
        assert_eq!(Route::of(&Method::PUT, "/v1.0/state/s/bulk"), Route::BulkGetState { store: "s".into() });
        assert_eq!(Route::of(&Method::GET, "/v1.0/healthz"), Route::Health);
        assert_eq!(Route::of(&Method::GET, "/v1.0/state/s/%zz"), Route::BadPath);
    }

    #[test]
    fn wrong_methods_and_paths_are_unknown() {
        for (method, path) in [
            (Method::PATCH, "/v1.0/state/s/k"),
            (Method::GET, "/v1.0/state/s"),
            (Method::GET, "/"),
            (Method::GET, "/v1.0/state/s/k/more/and/more"),
            (Method::GET, "/v2.0/state/s/k"),
        ] {
            assert_eq!(Route::of(&method, path), Route::Unknown, "{method} {path}");
        }
    }
}
