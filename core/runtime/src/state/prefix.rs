//! Key prefixes: how applications that share a store stay apart.

use crate::App;

/// Between prefix and key; no key may contain it.
pub const SEPARATOR: &str = "||";

/// A key or a prefix contains the separator. The text is Dapr's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("input key/keyPrefix '{0}' can't contain '||'")]
pub struct IllegalKey(pub String);

/// The strategy of one store (`keyPrefix` in its metadata).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum KeyPrefix {
    /// The application's id.
    #[default]
    AppId,
    /// `<namespace>.<application id>`, or the id alone where there is no namespace.
    Namespace,
    /// The component's name: applications share their keys.
    Name,
    /// None: everyone who uses the store shares its keys.
    None,
    /// A fixed text.
    Literal(Box<str>),
}

impl KeyPrefix {
    /// Reads `keyPrefix`; as in Dapr a fixed text is lower-cased.
    ///
    /// # Errors
    /// [`IllegalKey`] when a fixed text contains the separator.
    pub fn parse(strategy: Option<&str>) -> Result<Self, IllegalKey> {
        let strategy = strategy.unwrap_or("appid").to_lowercase();
        refuse_separator(&strategy)?;
        Ok(match strategy.as_str() {
            "appid" => Self::AppId,
            "namespace" => Self::Namespace,
            "name" => Self::Name,
            "none" => Self::None,
            _ => Self::Literal(strategy.into()),
        })
    }

    /// The key as the store sees it; one allocation.
    ///
    /// # Errors
    /// [`IllegalKey`] when `key` contains the separator.
    pub fn apply(&self, app: &App, store: &str, key: &str) -> Result<String, IllegalKey> {
        refuse_separator(key)?;
        Ok(match self {
            Self::AppId if !app.id.is_empty() => join(&[&app.id, SEPARATOR, key]),
            Self::Namespace if !app.id.is_empty() && !app.namespace.is_empty() => {
                join(&[&app.namespace, ".", &app.id, SEPARATOR, key])
            }
            Self::Namespace if !app.id.is_empty() => join(&[&app.id, SEPARATOR, key]),
            Self::Name => join(&[store, SEPARATOR, key]),
            Self::Literal(prefix) => join(&[prefix, SEPARATOR, key]),
            Self::None | Self::AppId | Self::Namespace => key.to_owned(),
        })
    }

    /// The key as the application knows it.
    pub fn strip<'a>(&self, key: &'a str) -> &'a str {
        match (self, key.split_once(SEPARATOR)) {
            (Self::None, _) | (_, None) => key,
            (_, Some((_, own))) => own,
        }
    }
}

fn refuse_separator(key: &str) -> Result<(), IllegalKey> {
    if key.contains(SEPARATOR) { Err(IllegalKey(key.to_owned())) } else { Ok(()) }
}

fn join(parts: &[&str]) -> String {
    let mut joined = String::with_capacity(parts.iter().map(|part| part.len()).sum());
    parts.iter().for_each(|part| joined.push_str(part));
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(strategy: Option<&str>, app: &App) -> String {
        KeyPrefix::parse(strategy).unwrap().apply(app, "store", "k").unwrap()
    }

    #[test]
    fn each_strategy_has_daprs_form() {
        let app = App::new("app", "ns");
        for (strategy, expected) in [
            (None, "app||k"),
            (Some("appid"), "app||k"),
            (Some("NAMESPACE"), "ns.app||k"),
            (Some("name"), "store||k"),
            (Some("none"), "k"),
            (Some("Shared"), "shared||k"),
        ] {
            assert_eq!(applied(strategy, &app), expected, "{strategy:?}");
        }
        assert_eq!(applied(Some("namespace"), &App::new("app", "")), "app||k");
    }

    #[test]
    fn the_separator_is_refused_and_stripped() {
        let app = App::new("app", "");
        assert!(KeyPrefix::parse(Some("a||b")).is_err());
        let error = KeyPrefix::AppId.apply(&app, "store", "a||b").unwrap_err();
        assert_eq!(error.to_string(), "input key/keyPrefix 'a||b' can't contain '||'");
        assert_eq!(KeyPrefix::AppId.strip("app||k"), "k");
        assert_eq!(KeyPrefix::None.strip("k"), "k");
    }
}
