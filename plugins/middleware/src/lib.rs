//! HTTP middleware as a Mecha plugin: `middleware.http.*`, with Dapr's metadata.
//!
//! One file for each type; `token.rs` speaks to token endpoints for both kinds of OAuth 2.0, `client.rs` holds the connections.

mod bearer;
mod client;
mod credentials;
mod oauth2;
mod ratelimit;
mod routeralias;
mod routerchecker;
mod text;
mod token;
mod uppercase;

use mecha_plugin_api::Plugin;

use crate::bearer::Bearer;
use crate::credentials::ClientCredentials;
use crate::oauth2::OAuth2;
use crate::ratelimit::RateLimit;
use crate::routeralias::RouterAlias;
use crate::routerchecker::RouterChecker;
use crate::uppercase::Uppercase;

mecha_plugin_api::export!(plugin);

fn plugin() -> Plugin {
    Plugin::new("middleware", env!("CARGO_PKG_VERSION"))
        .middleware("middleware.http.bearer", Bearer::open)
        .middleware("middleware.http.oauth2", OAuth2::open)
        .middleware("middleware.http.oauth2clientcredentials", ClientCredentials::open)
        .middleware("middleware.http.ratelimit", RateLimit::open)
        .middleware("middleware.http.routeralias", RouterAlias::open)
        .middleware("middleware.http.routerchecker", RouterChecker::open)
        .middleware("middleware.http.uppercase", Uppercase::open)
}
