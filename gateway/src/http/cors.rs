//! Which pages of a browser may call the API (`--allowed-origins`).

use std::convert::Infallible;

use http::header::ACCESS_CONTROL_REQUEST_METHOD;
use http::{Method, Request, Response};
use tower::{Layer, ServiceExt, service_fn};
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer};

use super::body::{Body, ResponseBody};

/// As daprd allows them.
const METHODS: [Method; 6] =
    [Method::HEAD, Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// The rule for requests that a browser sends on behalf of another origin's page.
#[derive(Debug)]
pub(crate) struct Cors {
    layer: CorsLayer,
}

impl Cors {
    /// From a list with commas: origins, origins with one `*` in them, or `*` for all. `None` when the list is empty,
    /// and an error that holds the entry which is no origin.
    pub(crate) fn new(origins: &str) -> Result<Option<Self>, String> {
        let origins: Vec<_> = origins.split(',').map(str::trim).filter(|origin| !origin.is_empty()).collect();
        if origins.is_empty() {
            return Ok(None);
        }
        if let Some(wrong) = origins.iter().find(|origin| **origin != "*" && !origin.contains("://")) {
            return Err((*wrong).to_owned());
        }
        let allowed = if origins.contains(&"*") {
            AllowOrigin::any()
        } else {
            let patterns: Vec<_> = origins.into_iter().map(Pattern::new).collect();
            AllowOrigin::predicate(move |origin, _| {
                let origin = origin.as_bytes().to_ascii_lowercase();
                patterns.iter().any(|pattern| pattern.matches(&origin))
            })
        };
        let layer = CorsLayer::new()
            .allow_origin(allowed)
            .allow_methods(AllowMethods::list(METHODS))
            .allow_headers(AllowHeaders::mirror_request());
        Ok(Some(Self { layer }))
    }

    /// Whether the rule says anything of a request: an OPTIONS that asks for no permission is the application's own.
    pub(crate) fn concerns<B>(&self, request: &Request<B>) -> bool {
        request.method() != Method::OPTIONS || request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// Answers a question for permission, has everything else answered, and adds the headers that browsers look at.
    pub(crate) async fn guard<B, A, F>(&self, request: Request<B>, answer: A) -> Response<ResponseBody>
    where
        A: Fn(Request<B>) -> F,
        F: Future<Output = Response<ResponseBody>>,
    {
        let answering = service_fn(|request| {
            let answered = answer(request);
            async move { Ok::<_, Infallible>(answered.await.map(Some)) }
        });
        let Ok(response) = self.layer.layer(answering).oneshot(request).await;
        response.map(|body| body.unwrap_or_else(|| Body::Whole(Default::default()).into_response_body()))
    }
}

/// An origin, or what stands before and after its `*`; in lower case.
struct Pattern {
    start: Vec<u8>,
    end: Option<Vec<u8>>,
}

impl Pattern {
    fn new(origin: &str) -> Self {
        let origin = origin.to_ascii_lowercase();
        match origin.split_once('*') {
            Some((start, end)) => Self { start: start.into(), end: Some(end.into()) },
            None => Self { start: origin.into(), end: None },
        }
    }

    fn matches(&self, origin: &[u8]) -> bool {
        match (&self.end, origin.strip_prefix(self.start.as_slice())) {
            (None, rest) => rest.is_some_and(<[u8]>::is_empty),
            (Some(end), rest) => rest.is_some_and(|rest| rest.ends_with(end)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_whole_or_has_one_star() {
        let matches = |pattern, origin: &str| Pattern::new(pattern).matches(origin.as_bytes());
        assert!(matches("https://A.example", "https://a.example"));
        assert!(!matches("https://a.example", "https://a.example.evil"));
        assert!(!matches("https://a.example", "https://b.example"));
        assert!(matches("https://*.example", "https://a.b.example"));
        assert!(!matches("https://*.example", "http://a.example"));
        assert!(!matches("https://*.example", "https://example"));
    }

    #[test]
    fn a_list_is_read_and_what_is_no_origin_is_named() {
        assert!(Cors::new("").unwrap().is_none());
        assert!(Cors::new(" , ").unwrap().is_none());
        assert!(Cors::new("*").unwrap().is_some());
        assert!(Cors::new("https://a.example, http://localhost:3000").unwrap().is_some());
        assert_eq!(Cors::new("https://a.example,localhost").unwrap_err(), "localhost");
    }
}
