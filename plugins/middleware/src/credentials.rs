//! `middleware.http.oauth2clientcredentials`: requests go on with a token that the component has of its own.

use std::time::{Duration, Instant};

use mecha_plugin_api::middleware::{Decision, HttpRequest, Middleware};
use mecha_plugin_api::{CallContext, ComponentSpec, Error, Result};
use tokio::sync::Mutex;

use crate::client::Client;
use crate::text::{PathFilter, pairs};
use crate::token::{AuthStyle, Endpoint};

/// How long a token is used when its endpoint does not say.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(3600);
/// How much earlier than its end a token is replaced, so that it does not end on its way.
const MARGIN: Duration = Duration::from_secs(10);

/// The endpoint, and the token that it gave last.
pub(crate) struct ClientCredentials {
    client: Client,
    endpoint: Endpoint,
    asked: Vec<(String, String)>,
    header: String,
    filter: PathFilter,
    /// Held while a token is asked for, so that one request asks for all.
    held: Mutex<Option<Held>>,
}

struct Held {
    value: String,
    until: Instant,
}

impl ClientCredentials {
    pub(crate) async fn open(spec: ComponentSpec) -> Result<Self> {
        let header = spec.required("headerName")?.to_owned();
        let scopes = spec.required("scopes")?;
        let asked = asked(scopes, spec.text("endpointParamsQuery"));
        let endpoint = Endpoint::new(
            spec.required("tokenURL")?,
            spec.required("clientID")?,
            spec.required("clientSecret")?,
            style(&spec)?,
        );
        let filter = PathFilter::read(&spec)?;
        Ok(Self { client: Client::new().await?, endpoint, asked, header, filter, held: Mutex::default() })
    }

    async fn token(&self) -> Result<String> {
        let mut held = self.held.lock().await;
        if let Some(held) = held.as_ref().filter(|held| held.until > Instant::now()) {
            return Ok(held.value.clone());
        }
        let token = self.endpoint.token(&self.client, &self.asked).await?;
        let lifetime = token.lifetime.unwrap_or(DEFAULT_LIFETIME);
        let until = Instant::now() + lifetime.checked_sub(MARGIN).unwrap_or(lifetime);
        *held = Some(Held { value: token.header.clone(), until });
        Ok(token.header)
    }
}

/// What the form says besides the credentials.
fn asked(scopes: &str, more: Option<&str>) -> Vec<(String, String)> {
    let mut asked = vec![
        ("grant_type".to_owned(), "client_credentials".to_owned()),
        ("scope".to_owned(), scopes.split(',').collect::<Vec<_>>().join(" ")),
    ];
    asked.extend(pairs(more.unwrap_or_default()));
    asked
}

fn style(spec: &ComponentSpec) -> Result<AuthStyle> {
    match spec.parsed("authStyle", 0_i64)? {
        0 => Ok(AuthStyle::Auto),
        1 => Ok(AuthStyle::Params),
        2 => Ok(AuthStyle::Header),
        other => Err(Error::invalid(format!("can only have the values 0, 1, 2; it is {other}"))
            .with_field("authStyle")),
    }
}

impl Middleware for ClientCredentials {
    async fn request(&self, _context: &CallContext, mut request: HttpRequest) -> Result<Decision> {
        if !self.filter.fits(request.path()) {
            return Ok(Decision::pass());
        }
        request.headers.append(self.header.as_str(), self.token().await?);
        Ok(Decision::pass_with(request))
    }
}

#[cfg(test)]
mod tests {
    use mecha_plugin_api::Metadata;

    use super::*;

    const WHOLE: [(&str, &str); 5] = [
        ("headerName", "authorization"),
        ("scopes", "a,b"),
        ("tokenURL", "http://127.0.0.1:1/token"),
        ("clientID", "id"),
        ("clientSecret", "secret"),
    ];

    async fn wrong_field(metadata: impl IntoIterator<Item = (&str, &str)>) -> Option<String> {
        let metadata = Metadata::from_iter(metadata);
        let spec = ComponentSpec::new("c", "middleware.http.oauth2clientcredentials", metadata);
        let error = ClientCredentials::open(spec).await.err()?;
        Some(error.field().unwrap_or_default().to_owned())
    }

    #[tokio::test]
    async fn every_field_is_checked() {
        assert_eq!(wrong_field(WHOLE).await, None);
        for (missing, _) in WHOLE {
            let rest = WHOLE.into_iter().filter(|(key, _)| *key != missing);
            assert_eq!(wrong_field(rest).await.as_deref(), Some(missing));
        }
        for wrong in [("authStyle", "3"), ("authStyle", "x"), ("pathFilter", "(")] {
            assert_eq!(wrong_field(WHOLE.into_iter().chain([wrong])).await.as_deref(), Some(wrong.0));
        }
    }

    #[test]
    fn the_form_has_scopes_and_parameters() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let expected =
            [pair("grant_type", "client_credentials"), pair("scope", "a b"), pair("audience", "x y")];
        assert_eq!(asked("a,b", Some("audience=x+y")), expected);
    }
}
