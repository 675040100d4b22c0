//! The policies of applications, for calls of them.

use std::sync::Arc;

use mecha_resiliency::Policy;

use super::Policies;

impl mecha_invocation::Policies for Policies {
    fn of(&self, id: &str, endpoint: &dyn Fn() -> String) -> Option<Policy> {
        if !self.is_any() {
            return None;
        }
        Some(self.registry.app(id, &endpoint())).filter(|policy| !policy.is_empty())
    }

    fn between_runtimes(&self, app_id: &str) -> Option<Arc<Policy>> {
        let is_named = self.is_any() && self.registry.current().names_app(app_id);
        (!is_named).then(|| self.between_runtimes.load_full())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mecha_invocation::Policies as _;
    use mecha_observability::{Metrics, MetricsSettings};
    use mecha_resources::Resiliency;
    use mecha_resources::resiliency::{AppPolicies, RetryPolicy};

    use super::*;

    #[test]
    fn an_application_that_is_named_has_no_built_in_retries() {
        let policies = Policies::new(Arc::new(Metrics::new(&MetricsSettings::default()).unwrap()));
        let of = |policies: &Policies, id: &str| {
            mecha_invocation::Policies::of(policies, id, &|| "a:m".to_owned())
        };
        let built_in = |policies: &Policies, id: &str| {
            policies.between_runtimes(id).and_then(|policy| policy.retry()?.max_retries)
        };
        assert!(of(&policies, "a").is_none());
        assert_eq!(built_in(&policies, "a"), Some(3));

        let mut resource = Resiliency { name: "r".into(), ..Resiliency::default() };
        resource.targets.apps.insert("a".into(), AppPolicies::default());
        resource.policies.timeouts.insert("DefaultAppTimeoutPolicy".into(), "2s".into());
        let retry = RetryPolicy { max_retries: Some(7), ..RetryPolicy::default() };
        resource.policies.retries.insert("DaprBuiltInServiceRetries".into(), retry);
        policies.apply("app", &[resource]);
        assert!(of(&policies, "a").is_none(), "it is named, and has nothing");
        assert_eq!(built_in(&policies, "a"), None);
        assert_eq!(of(&policies, "b").unwrap().timeout(), Some(Duration::from_secs(2)));
        assert_eq!(built_in(&policies, "b"), Some(7));

        policies.apply("app", &[]);
        assert!(of(&policies, "b").is_none());
        assert_eq!(built_in(&policies, "a"), Some(3));
    }
}
