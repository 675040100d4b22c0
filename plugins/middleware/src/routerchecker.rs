//! `middleware.http.routerchecker`: only requests whose path and query fit a pattern go on.

use mecha_plugin_api::middleware::{Decision, HttpRequest, Middleware};
use mecha_plugin_api::{CallContext, ComponentSpec, Error, Result};
use regex_lite::Regex;

use crate::text::pattern;

/// The pattern.
pub(crate) struct RouterChecker(Regex);

impl RouterChecker {
    pub(crate) async fn open(spec: ComponentSpec) -> Result<Self> {
        let missing = || Error::invalid("required metadata field is missing").with_field("rule");
        pattern(&spec, "rule")?.map(Self).ok_or_else(missing)
    }
}

impl Middleware for RouterChecker {
    async fn request(&self, _context: &CallContext, request: HttpRequest) -> Result<Decision> {
        Ok(match self.0.is_match(&request.uri) {
            true => Decision::pass(),
            false => Decision::answer(400, "invalid router"),
        })
    }
}
