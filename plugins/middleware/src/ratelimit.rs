//! `middleware.http.ratelimit`: so many requests a second for each sender and path.

mod bucket;

use std::net::IpAddr;
use std::time::Instant;

use mecha_plugin_api::middleware::{Decision, Headers, HttpAnswer, HttpRequest, Middleware, Passed};
use mecha_plugin_api::{CallContext, ComponentSpec, Error, ROption, Result};

use self::bucket::Buckets;
use crate::text::unescape;

const FIELD: &str = "maxRequestsPerSecond";
const DEFAULT_MOST: f64 = 100.0;
const FORWARDED: &str = "x-forwarded-for";
/// Who sends what has no sender, such as the runtime's own calls to the application.
const NOBODY: &str = "0.0.0.0";

/// The limit, and who used how much of it.
pub(crate) struct RateLimit {
    most: f64,
    buckets: Buckets,
}

impl RateLimit {
    pub(crate) async fn open(spec: ComponentSpec) -> Result<Self> {
        let most: f64 = spec.parsed(FIELD, DEFAULT_MOST)?;
        if !(most > 0.0 && most.is_finite()) {
            return Err(Error::invalid("must be a positive value").with_field(FIELD));
        }
        Ok(Self { most, buckets: Buckets::new(most) })
    }

    /// The headers that every answer has.
    fn headers(&self, request: &HttpRequest, left: u64) -> Headers {
        let mut headers = Headers::new();
        headers.append("x-rate-limit-limit", format!("{:.2}", self.most));
        headers.append("x-rate-limit-duration", "1");
        if let Some(forwarded) = request.headers.get(FORWARDED).filter(|from| !from.trim().is_empty()) {
            headers.append("x-rate-limit-request-forwarded-for", forwarded);
        }
        headers.append("x-rate-limit-request-remote-addr", request.remote.as_str());
        headers.append("ratelimit-limit", format!("{:.0}", self.most));
        headers.append("ratelimit-reset", "1");
        headers.append("ratelimit-remaining", left.to_string());
        headers
    }
}

impl Middleware for RateLimit {
    async fn request(&self, _context: &CallContext, mut request: HttpRequest) -> Result<Decision> {
        let is_nobody = request.remote.is_empty();
        if is_nobody {
            request.headers.insert(FORWARDED, NOBODY);
        }
        let sender = sender(if is_nobody { NOBODY } else { &request.remote });
        let key = format!("{sender}|{}", unescape(request.path()));
        let left = self.buckets.take(key, Instant::now());
        let answer_headers = self.headers(&request, left.unwrap_or(0));
        if left.is_none() {
            let mut answer = HttpAnswer::text(429, "You have reached maximum request limit.");
            for (name, value) in answer_headers.iter() {
                answer.headers.append(name, value);
            }
            return Ok(Decision::Answer(answer));
        }
        let changed = if is_nobody { ROption::RSome(request) } else { ROption::RNone };
        Ok(Decision::Pass(Passed { request: changed, answer_headers, ..Passed::default() }))
    }
}

/// Who shares a limit: an IPv4 address, or a network of IPv6 of the size that one customer has.
fn sender(remote: &str) -> String {
    match remote.parse() {
        Ok(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::")
        }
        _ => remote.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mecha_plugin_api::Metadata;

    async fn open(most: &str) -> Result<RateLimit> {
        let metadata = Metadata::from_iter([(FIELD, most)]);
        RateLimit::open(ComponentSpec::new("limit", "middleware.http.ratelimit", metadata)).await
    }

    fn request(remote: &str, path: &str) -> HttpRequest {
        HttpRequest {
            method: "GET".into(),
            uri: path.into(),
            headers: Headers::new(),
            remote: remote.into(),
            body: ROption::RNone,
        }
    }

    #[tokio::test]
    async fn each_sender_and_path_has_a_limit_of_its_own() {
        let limit = open("1").await.unwrap();
        let context = CallContext::background("app");
        let mut passed = Vec::new();
        for (remote, path) in
            [("10.0.0.1", "/a"), ("10.0.0.1", "/a?x"), ("10.0.0.1", "/b"), ("10.0.0.2", "/a")]
        {
            let decision = limit.request(&context, request(remote, path)).await.unwrap();
            passed.push(matches!(decision, Decision::Pass(_)));
        }
        assert_eq!(passed, [true, false, true, true]);
    }

    #[tokio::test]
    async fn a_refusal_says_why() {
        let limit = open("1").await.unwrap();
        let context = CallContext::background("app");
        limit.request(&context, request("", "/a")).await.unwrap();
        let decision = limit.request(&context, request("", "/a")).await.unwrap();
        let Decision::Answer(answer) = decision else { panic!("it passed") };
        assert_eq!(answer.status, 429);
        assert_eq!(answer.headers.get("X-Rate-Limit-Limit"), Some("1.00"));
        assert_eq!(answer.headers.get("X-Rate-Limit-Request-Forwarded-For"), Some(NOBODY));
        assert_eq!(answer.headers.get("RateLimit-Remaining"), Some("0"));
    }

    #[tokio::test]
    async fn a_limit_is_a_positive_number() {
        for wrong in ["0", "-1", "many", "NaN", "inf"] {
            assert_eq!(open(wrong).await.err().unwrap().field(), Some(FIELD), "{wrong}");
        }
    }

    #[test]
    fn neighbours_of_a_network_share() {
        assert_eq!(sender("2001:db8:1:2:3::4"), sender("2001:db8:1:2::"));
        assert_ne!(sender("2001:db8:1:2:3::4"), sender("2001:db8:1:3:3::4"));
        assert_eq!(sender("10.0.0.1"), "10.0.0.1");
    }
}
