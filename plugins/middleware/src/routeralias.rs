//! `middleware.http.routeralias`: other paths for what the runtime offers.

mod routes;
mod template;

use mecha_plugin_api::middleware::{Decision, HttpRequest, Middleware};
use mecha_plugin_api::{CallContext, ComponentSpec, Error, Result};

use self::template::Template;
use crate::text::{escape_path, form, pairs, unescape};

const FIELD: &str = "routes";

/// The aliases, in the order in which they were written; the first that fits decides.
#[derive(Debug)]
pub(crate) struct RouterAlias(Vec<(Template, String)>);

impl RouterAlias {
    pub(crate) async fn open(spec: ComponentSpec) -> Result<Self> {
        let routes = match spec.text(FIELD) {
            Some(text) if spec.metadata.len() == 1 => routes::read(text)?,
            _ => by_pairs(&spec)?,
        };
        let aliases = routes.into_iter().map(|(from, to)| Ok((Template::read(&from)?, to)));
        aliases.collect::<Result<_>>().map(Self)
    }

    /// Where a request goes instead: the path, and what the query has besides its own.
    fn target(&self, path: &str) -> Option<(&str, Vec<(&str, String)>)> {
        self.0.iter().find_map(|(template, to)| Some((to.as_str(), template.values(path)?)))
    }
}

/// Dapr's older form: each pair of the metadata is an alias.
fn by_pairs(spec: &ComponentSpec) -> Result<Vec<(String, String)>> {
    if !spec.metadata.is_empty() {
        tracing::warn!("routes as pairs of the metadata are deprecated; the field routes takes them all");
    }
    let pair = |(from, to): (&str, &str)| {
        let is_whole = !from.is_empty() && !to.is_empty();
        let empty =
            || Error::invalid("invalid key/value pair in metadata: must not be empty").with_field(from);
        is_whole.then(|| (from.to_owned(), to.to_owned())).ok_or_else(empty)
    };
    spec.metadata.iter().map(pair).collect()
}

impl Middleware for RouterAlias {
    async fn request(&self, _context: &CallContext, mut request: HttpRequest) -> Result<Decision> {
        let path = unescape(request.path()).into_owned();
        let Some((to, values)) = self.target(&path) else { return Ok(Decision::pass()) };
        let mut uri = escape_path(to);
        let query = request.query().map(str::to_owned);
        let query = match values.is_empty() {
            true => query,
            false => {
                let own = pairs(query.as_deref().unwrap_or_default());
                let added = values.into_iter().map(|(name, value)| (name.to_owned(), value));
                Some(form(own.chain(added)))
            }
        };
        if let Some(query) = query {
            uri.push('?');
            uri.push_str(&query);
        }
        request.uri = uri.into();
        Ok(Decision::pass_with(request))
    }
}

#[cfg(test)]
mod tests {
    use mecha_plugin_api::middleware::Headers;
    use mecha_plugin_api::{Metadata, ROption};

    use super::*;

    async fn open(metadata: &[(&str, &str)]) -> Result<RouterAlias> {
        let metadata = Metadata::from_iter(metadata.iter().copied());
        RouterAlias::open(ComponentSpec::new("alias", "middleware.http.routeralias", metadata)).await
    }

    async fn led(alias: &RouterAlias, uri: &str) -> String {
        let request = HttpRequest {
            method: "GET".into(),
            uri: uri.into(),
            headers: Headers::new(),
            remote: "".into(),
            body: ROption::RNone,
        };
        match alias.request(&CallContext::background("app"), request).await.unwrap() {
            Decision::Pass(passed) => passed.request.map_or(uri.to_owned(), |request| request.uri.into()),
            Decision::Answer(answer) => panic!("{answer:?}"),
        }
    }

    #[tokio::test]
    async fn a_path_leads_elsewhere_and_its_parts_become_the_query() {
        let alias = open(&[(
            "routes",
            r#"{"/hello": "/v1.0/invoke/app/method/hello", "/a/{id}/{rest:.*}": "/b c"}"#,
        )]);
        let alias = alias.await.unwrap();
        assert_eq!(led(&alias, "/hello?x=1").await, "/v1.0/invoke/app/method/hello?x=1");
        assert_eq!(led(&alias, "/a/1%202/x/y?q=z").await, "/b%20c?q=z&id=1%202&rest=x%2Fy");
        for other in ["/hello/", "/helloo", "/a/1", "/HELLO"] {
            assert_eq!(led(&alias, other).await, other);
        }
    }

    #[tokio::test]
    async fn the_older_form_and_none_at_all_work() {
        let alias = open(&[("/one", "/1"), ("/two", "/2")]).await.unwrap();
        assert_eq!(
            (led(&alias, "/one").await, led(&alias, "/two").await),
            ("/1".to_owned(), "/2".to_owned())
        );
        assert_eq!(led(&open(&[]).await.unwrap(), "/one").await, "/one");
        assert!(open(&[("/one", ""), ("/two", "/2")]).await.is_err());
    }
}
