//! Who may call which operation of the application. The rules and texts are Dapr's.
//!
//! A caller is known by its certificate (`--enable-mtls`). Without one nobody is, and what holds for everybody decides alone, as in Dapr: names that
//! callers give themselves in headers are no identity.

mod trie;

use std::collections::HashMap;

use mecha_observability::metrics::AccessDecision;

use trie::Trie;

/// Rules as a Configuration has them.
#[derive(Debug, Clone, Default)]
pub struct AccessRules {
    /// `allow` or `deny` for callers without rules.
    pub default_action: String,
    /// Rules by caller.
    pub callers: Vec<CallerRules>,
}

/// Rules for one caller.
#[derive(Debug, Clone, Default)]
pub struct CallerRules {
    /// Who it is.
    pub identity: Identity,
    /// `allow` or `deny` for operations without a rule.
    pub default_action: String,
    /// Rules by operation.
    pub operations: Vec<OperationRule>,
}

/// A rule for operations.
#[derive(Debug, Clone, Default)]
pub struct OperationRule {
    /// The operation's path, possibly with wildcards.
    pub name: String,
    /// The verbs it holds for, or `*`.
    pub http_verbs: Vec<String>,
    /// `allow` or `deny`.
    pub action: String,
}

/// A caller as its certificate names it. Whoever takes a connection in puts it among the extensions of its requests.
pub use mecha_identity::Identity;

/// Rules that cannot hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid access control spec. missing trustdomain for apps: [{}], missing namespace for apps: [{}], missing app name on at least one of the app policies: {nameless}",
    .domainless.join(" "),
    .spaceless.join(" ")
)]
pub struct AccessError {
    domainless: Vec<String>,
    spaceless: Vec<String>,
    nameless: bool,
}

/// Rules ready to be asked.
#[derive(Debug)]
pub struct AccessList {
    default_action: String,
    callers: HashMap<(String, String), Caller>,
    /// Paths count without case, and verbs count at all.
    is_http: bool,
}

#[derive(Debug)]
struct Caller {
    trust_domain: String,
    default_action: String,
    operations: Trie<Operation>,
}

#[derive(Debug)]
struct Operation {
    http_verbs: Vec<String>,
    action: String,
}

/// What is to be called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) caller: Option<&'a Identity>,
    pub(crate) operation: &'a str,
    /// `NONE` for a call without one.
    pub(crate) verb: &'a str,
}

impl AccessList {
    /// Reads rules for an application that speaks HTTP, or gRPC.
    ///
    /// # Errors
    /// A caller that is not named in full.
    pub fn new(rules: AccessRules, is_http: bool) -> Result<Self, AccessError> {
        let default_action = match rules.default_action.as_str() {
            "" if rules.callers.is_empty() => "allow",
            "" => {
                tracing::warn!(
                    "No global default action has been specified. Setting default global action as Deny"
                );
                "deny"
            }
            action => action,
        };
        let default_action = default_action.to_owned();
        let mut missing = AccessError { domainless: Vec::new(), spaceless: Vec::new(), nameless: false };
        let mut callers = HashMap::new();
        for rules in rules.callers {
            let Identity { trust_domain, namespace, app_id } = rules.identity;
            missing.nameless |= app_id.is_empty();
            if trust_domain.is_empty() {
                missing.domainless.push(app_id.clone());
            }
            if namespace.is_empty() {
                missing.spaceless.push(app_id.clone());
            }
            let operations = operations(rules.operations, is_http);
            let caller = Caller { trust_domain, default_action: rules.default_action, operations };
            callers.insert((app_id, namespace), caller);
        }
        if missing.nameless || !missing.domainless.is_empty() || !missing.spaceless.is_empty() {
            return Err(missing);
        }
        Ok(Self { default_action, callers, is_http })
    }

    /// Whether a call may be made, and which rule says so.
    ///
    /// # Errors
    /// The refusal, in Dapr's words.
    pub(crate) fn check(&self, asked: Asked<'_>) -> (AccessDecision, Result<(), String>) {
        let verb = if self.is_http { asked.verb } else { "NONE" };
        let (action, is_of_app) = self.action(Asked { verb, ..asked });
        let is_allowed = action.eq_ignore_ascii_case("allow");
        let denied = || {
            let id = asked.caller.map(Identity::to_string).unwrap_or_default();
            let operation = asked.operation;
            format!("access control policy has denied access to id: {id} operation: {operation} verb: {verb}")
        };
        (AccessDecision { is_allowed, is_of_app }, if is_allowed { Ok(()) } else { Err(denied()) })
    }

    fn action(&self, asked: Asked<'_>) -> (&str, bool) {
        let everybody = (self.default_action.as_str(), false);
        let Some(identity) = asked.caller else { return everybody };
        let key = (identity.app_id.clone(), identity.namespace.clone());
        let known = self.callers.get(&key).filter(|known| known.trust_domain == identity.trust_domain);
        let Some(caller) = known else { return everybody };
        // As in Dapr an action that an operation's rule gives counts as the application's only where it has a default of its own.
        let is_of_app = !caller.default_action.is_empty();
        let default = if is_of_app { &caller.default_action } else { &self.default_action };
        let path = operation_path(asked.operation, self.is_http);
        let Some(rule) = caller.operations.find(&path) else { return (default, is_of_app) };
        let holds = |verb: &str| rule.http_verbs.iter().any(|known| known == verb);
        let action = match asked.verb {
            _ if !self.is_http => &rule.action,
            "NONE" => &caller.default_action,
            verb if holds(verb) || holds("*") => &rule.action,
            _ => default,
        };
        (action, is_of_app)
    }
}

fn operations(rules: Vec<OperationRule>, is_http: bool) -> Trie<Operation> {
    let mut operations = Trie::default();
    for rule in rules {
        let path = operation_path(&rule.name, is_http);
        operations.insert(&path, Operation { http_verbs: rule.http_verbs, action: rule.action });
    }
    operations
}

fn operation_path(name: &str, is_http: bool) -> String {
    let path = if name.starts_with('/') { name.to_owned() } else { format!("/{name}") };
    if is_http { path.to_lowercase() } else { path }
}

#[cfg(test)]
mod tests;
