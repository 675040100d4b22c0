//! Which environment variables a component's `envRef` may read.

/// An `envRef` that names a variable it may not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("references an env variable that isn't allowed: {0}")]
pub struct EnvRefRefused(pub String);

/// Reads the variable that an `envRef` names; an unset one is empty, as in Dapr.
///
/// Refused are the runtime's own variables (`APP_API_TOKEN`, `DAPR_*`), names that are empty or hold a space, and,
/// when `DAPR_ENV_KEYS` is set, whatever it does not list.
pub fn resolve_env_ref(name: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, EnvRefRefused> {
    let allow_list = lookup("DAPR_ENV_KEYS").filter(|list| !list.is_empty());
    if !is_allowed(name, allow_list.as_deref()) {
        return Err(EnvRefRefused(name.to_owned()));
    }
    Ok(lookup(name).unwrap_or_default())
}

fn is_allowed(name: &str, allow_list: Option<&str>) -> bool {
    let name = name.to_uppercase();
    if name.is_empty() || name == "APP_API_TOKEN" || name.starts_with("DAPR_") || name.contains(' ') {
        return false;
    }
    allow_list.is_none_or(|list| list.split(' ').any(|allowed| allowed == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, env: &[(&str, &str)]) -> Result<String, EnvRefRefused> {
        resolve_env_ref(name, &|key| {
            env.iter().find(|(name, _)| *name == key).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn reads_what_is_allowed() {
        assert_eq!(read("HOST", &[("HOST", "h")]), Ok("h".to_owned()));
        assert_eq!(read("UNSET", &[]), Ok(String::new()));
        assert_eq!(read("A", &[("A", "1"), ("DAPR_ENV_KEYS", "B A")]), Ok("1".to_owned()));
        assert_eq!(read("A", &[("A", "1"), ("DAPR_ENV_KEYS", "")]), Ok("1".to_owned()));
    }

    #[test]
    fn refuses_the_rest() {
        for name in ["", "APP_API_TOKEN", "app_api_token", "DAPR_API_TOKEN", "dapr_x", "A B"] {
            assert!(read(name, &[(name, "x")]).is_err(), "{name}");
        }
        assert!(read("A", &[("A", "1"), ("DAPR_ENV_KEYS", "AB BA")]).is_err());
    }
}
