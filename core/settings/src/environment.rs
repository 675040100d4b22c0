//! The environment, read once.

use std::{collections::HashMap, fmt};

use mecha_resources::component::REDACTED;

/// A secret of the environment. It prints as a placeholder; [`Token::reveal`] gives the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// The secret itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

/// The variables that daprd knows, and all others for those who refer to them (`envRef`, `$NAME` in a Configuration,
/// `OTEL_*`). A variable that is set to nothing counts as unset.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Environment {
    /// `DAPR_API_TOKEN`: what callers of the API must show.
    pub dapr_api_token: Option<Token>,
    /// `APP_API_TOKEN`: what is shown to the application.
    pub app_api_token: Option<Token>,
    /// `NAMESPACE`.
    pub namespace: Option<String>,
    /// `POD_NAME`.
    pub pod_name: Option<String>,
    /// `DAPR_HOST_IP`: the address that is announced to others.
    pub host_ip: Option<String>,
    /// `DAPR_TRUST_ANCHORS`: the root certificates of the control plane.
    pub trust_anchors: Option<String>,
    /// `DAPR_SENTRY_TOKEN_FILE`: the file with the token that is shown to sentry.
    pub sentry_token_file: Option<String>,
    vars: HashMap<String, String>,
}

impl Environment {
    /// Takes the variables of a process, or those of a test.
    pub fn from_vars(vars: impl IntoIterator<Item = (String, String)>) -> Self {
        let vars: HashMap<String, String> = vars.into_iter().collect();
        let given = |name: &str| vars.get(name).filter(|value| !value.is_empty()).cloned();
        Self {
            dapr_api_token: given("DAPR_API_TOKEN").map(Token),
            app_api_token: given("APP_API_TOKEN").map(Token),
            namespace: given("NAMESPACE"),
            pod_name: given("POD_NAME"),
            host_ip: given("DAPR_HOST_IP"),
            trust_anchors: given("DAPR_TRUST_ANCHORS"),
            sentry_token_file: given("DAPR_SENTRY_TOKEN_FILE"),
            vars,
        }
    }

    /// One variable as it is.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str)
    }

    /// One variable, unless it is set to nothing.
    #[must_use]
    pub fn given(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// Every variable. Values may be secrets.
    #[must_use]
    pub fn vars(&self) -> &HashMap<String, String> {
        &self.vars
    }

    /// A lookup in the form that `mecha_resources` takes.
    pub fn lookup(&self) -> impl Fn(&str) -> Option<String> + '_ {
        |name| self.vars.get(name).cloned()
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("dapr_api_token", &self.dapr_api_token)
            .field("app_api_token", &self.app_api_token)
            .field("namespace", &self.namespace)
            .field("pod_name", &self.pod_name)
            .field("host_ip", &self.host_ip)
            .finish_non_exhaustive()
    }
}

/// Whether a variable says yes, by Dapr's words for it.
pub(crate) fn is_truthy(value: &str) -> bool {
    ["y", "yes", "true", "t", "on", "1"].iter().any(|word| value.trim().eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_daprs_variables_and_hides_tokens() {
        let vars = [("DAPR_API_TOKEN", "t0ken"), ("NAMESPACE", "ns"), ("POD_NAME", ""), ("OTHER", "x")];
        let environment =
            Environment::from_vars(vars.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(environment.dapr_api_token.as_ref().unwrap().reveal(), "t0ken");
        assert_eq!((environment.namespace.as_deref(), environment.pod_name.as_deref()), (Some("ns"), None));
        assert_eq!((environment.get("OTHER"), environment.get("NONE")), (Some("x"), None));
        assert!(!format!("{environment:?}").contains("t0ken"));
    }

    #[test]
    fn knows_daprs_words_for_yes() {
        assert!(is_truthy(" Yes ") && is_truthy("1") && !is_truthy("enabled") && !is_truthy(""));
    }
}
