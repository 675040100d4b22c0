//! `middleware.http.oauth2`: who has no token is sent to a provider to get one, and comes back with a session.
//!
//! The session lies in the cookie itself, sealed (`session.rs`), so that it outlives this version of the plugin and is good for
//! every runtime with the same component.

mod session;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mecha_plugin_api::middleware::{Decision, Headers, HttpAnswer, HttpRequest, Middleware};
use mecha_plugin_api::{CallContext, ComponentSpec, ROption, Result};

use self::session::{LIFETIME, Seal, Session};
use crate::client::Client;
use crate::text::{PathFilter, form, query_value};
use crate::token::{AuthStyle, Endpoint};

const DEFAULT_HEADER: &str = "authorization";

/// The provider, and what is asked of it.
pub(crate) struct OAuth2 {
    client: Client,
    endpoint: Endpoint,
    auth_url: String,
    scopes: Option<String>,
    redirect_url: Option<String>,
    header: String,
    force_https: bool,
    filter: PathFilter,
    seal: Seal,
}

impl OAuth2 {
    pub(crate) async fn open(spec: ComponentSpec) -> Result<Self> {
        let (id, secret) = (spec.required("clientID")?, spec.required("clientSecret")?);
        Ok(Self {
            endpoint: Endpoint::new(spec.required("tokenURL")?, id, secret, AuthStyle::Auto),
            auth_url: spec.required("authURL")?.to_owned(),
            scopes: spec.text("scopes").map(|scopes| scopes.split(',').collect::<Vec<_>>().join(" ")),
            redirect_url: spec.text("redirectURL").map(str::to_owned),
            header: spec.text("authHeaderName").unwrap_or(DEFAULT_HEADER).to_owned(),
            force_https: spec.flag("forceHTTPS"),
            filter: PathFilter::read(&spec)?,
            seal: Seal::new(&spec.name, id, secret)?,
            client: Client::new().await?,
        })
    }

    /// Sends the caller to the provider.
    fn leave(&self, request: &HttpRequest, now: u64) -> Result<Decision> {
        let state = session::random()?;
        let session = Session {
            until: now + LIFETIME.as_secs(),
            state: state.clone(),
            back: request.uri.to_string(),
            header: String::new(),
        };
        let mut asked = vec![("access_type", "offline"), ("client_id", &self.endpoint.client_id)];
        if let Some(url) = &self.redirect_url {
            asked.push(("redirect_uri", url));
        }
        asked.push(("response_type", "code"));
        if let Some(scopes) = &self.scopes {
            asked.push(("scope", scopes));
        }
        asked.push(("state", &state));
        let separator = if self.auth_url.contains('?') { '&' } else { '?' };
        let location = format!("{}{separator}{}", self.auth_url, form(asked));
        self.redirect(&location, request, &session)
    }

    /// Takes in the caller that the provider sent back.
    async fn come_back(
        &self,
        request: &HttpRequest,
        state: &str,
        session: Option<Session>,
        now: u64,
    ) -> Result<Decision> {
        let Some(session) = session.filter(|session| !state.is_empty() && session.state == state) else {
            return Ok(Decision::answer(400, "invalid state"));
        };
        let code = query_value(request.query(), "code").filter(|code| !code.is_empty());
        let Some(code) = code else { return Ok(Decision::answer(400, "code not found")) };
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let mut asked = vec![pair("grant_type", "authorization_code"), pair("code", &code)];
        asked.extend(self.redirect_url.as_deref().map(|url| pair("redirect_uri", url)));
        let token = self.endpoint.token(&self.client, &asked).await?;
        let lifetime = token.lifetime.map_or(LIFETIME, |lifetime| lifetime.min(LIFETIME));
        let entered = Session {
            until: now + lifetime.as_secs(),
            state: String::new(),
            back: String::new(),
            header: token.header,
        };
        self.redirect(&self.back(request, &session.back), request, &entered)
    }

    /// Where the caller wanted to go; here, whatever the path looks like.
    fn back(&self, request: &HttpRequest, wanted: &str) -> String {
        let path = format!("/{}", wanted.trim_start_matches(['/', '\\']));
        match request.headers.get("host").filter(|_| self.force_https) {
            Some(host) => format!("https://{host}{path}"),
            None => path,
        }
    }

    fn redirect(&self, location: &str, request: &HttpRequest, session: &Session) -> Result<Decision> {
        let mut headers = Headers::from_iter([("location", location)]);
        for cookie in self.seal.cookies(session, &request.headers, self.force_https)? {
            headers.append("set-cookie", cookie);
        }
        Ok(Decision::Answer(HttpAnswer { status: 302, headers, body: ROption::RNone }))
    }
}

impl Middleware for OAuth2 {
    async fn request(&self, _context: &CallContext, mut request: HttpRequest) -> Result<Decision> {
        if !self.filter.fits(request.path()) {
            return Ok(Decision::pass());
        }
        let now = now();
        let session = self.seal.open(&request.headers).filter(|session| session.until > now);
        if let Some(entered) = session.as_ref().filter(|session| !session.header.is_empty()) {
            request.headers.append(self.header.as_str(), entered.header.as_str());
            return Ok(Decision::pass_with(request));
        }
        match query_value(request.query(), "state").filter(|state| !state.is_empty()) {
            Some(state) => self.come_back(&request, &state, session, now).await,
            None => self.leave(&request, now),
        }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

#[cfg(test)]
mod tests;
