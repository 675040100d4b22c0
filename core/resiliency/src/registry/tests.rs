//! From resources to the policies of targets, and from one set of resources to the next.

use std::time::Duration;

use super::*;
use crate::{Backoff, Breaker, Event, Failure, Retry, Site, State, Unobserved, run};

const SECOND: Duration = Duration::from_secs(1);

fn spec(json: &str) -> spec::Resiliency {
    serde_json::from_str(json).unwrap()
}

fn registry(json: &str) -> Registry {
    let registry = Registry::new(Arc::new(Unobserved));
    let report = registry.apply(&[spec(json)]);
    assert_eq!((report.refused, report.warnings), (vec![], vec![]));
    registry
}

const ALL: &str = r#"{
    "name": "r", "namespace": "ns",
    "policies": {
        "timeouts": {"general": "5s", "zero": "0"},
        "retries": {"three": {"policy": "constant", "duration": "1s", "maxRetries": 3}},
        "circuitBreakers": {"cb": {"maxRequests": 1, "interval": "8s", "timeout": "45s", "trip": "consecutiveFailures > 8"},
                            "other": {}}
    },
    "targets": {
        "apps": {"b": {"timeout": "general", "retry": "three", "circuitBreaker": "cb", "circuitBreakerCacheSize": 2},
                 "nothing": {"timeout": "zero"}},
        "actors": {"byId": {"timeout": "general", "retry": "three", "circuitBreaker": "cb", "circuitBreakerScope": "both"},
                   "byType": {"circuitBreaker": "cb", "circuitBreakerScope": "type"}},
        "components": {"store": {"outbound": {"timeout": "general", "retry": "three", "circuitBreaker": "cb"}},
                       "pubsub": {"inbound": {"circuitBreaker": "cb"}, "outbound": {"circuitBreaker": "cb"}},
                       "two": {"inbound": {"circuitBreaker": "cb"}, "outbound": {"circuitBreaker": "other"}}}
    }
}"#;

fn same(a: &Policy, b: &Policy) -> bool {
    Arc::ptr_eq(a.breaker().unwrap(), b.breaker().unwrap())
}

#[test]
fn an_application_has_its_policies_and_a_breaker_for_each_endpoint() {
    let registry = registry(ALL);
    let policy = registry.app("b", "b:m");
    assert_eq!(policy.timeout(), Some(5 * SECOND));
    assert_eq!(policy.retry(), Some(&Retry::constant(SECOND, Some(3))));
    let settings = policy.breaker().unwrap().settings();
    assert_eq!((settings.interval, settings.timeout), (8 * SECOND, 45 * SECOND));
    assert!(same(&policy, &registry.app("b", "b:m")));
    assert!(!same(&policy, &registry.app("b", "b:n")));
    let _ = registry.app("b", "b:o");
    assert!(!same(&policy, &registry.app("b", "b:m")), "its cache holds two");
    let site = policy.site().unwrap();
    assert_eq!(site.operation, "endpoint[b, b:m]");
    let labels = site.labels.as_ref().unwrap();
    assert_eq!((&*labels.name, &*labels.namespace), ("r", "ns"));
    assert_eq!((labels.direction, labels.target.as_str()), (Direction::Outbound, "app_b"));
    assert!(registry.current().names_app("b") && !registry.current().names_app("x"));
}

#[test]
fn what_is_not_named_and_has_no_default_has_no_policy() {
    let registry = registry(ALL);
    assert!(registry.app("x", "x:m").is_empty());
    assert!(registry.app("nothing", "nothing:m").is_empty(), "a timeout of zero is none");
    assert!(registry.component("x", ComponentType::Statestore, Direction::Outbound).is_empty());
    assert!(registry.component("store", ComponentType::Statestore, Direction::Inbound).is_empty());
    let current = registry.current();
    assert!(current.actor_before_lock("x", "1").is_empty() && current.actor_after_lock("x", "1").is_empty());
}

#[test]
fn an_actor_has_its_retries_before_and_its_timeout_after_its_turn() {
    let registry = registry(ALL);
    let current = registry.current();
    let before = current.actor_before_lock("byId", "1");
    assert!(before.timeout().is_none() && before.has_retries());
    assert_eq!(before.breaker().unwrap().name(), "byId-1");
    assert!(same(&before, &current.actor_before_lock("byId", "1")));
    assert!(!same(&before, &current.actor_before_lock("byId", "2")));
    let after = current.actor_after_lock("byId", "1");
    assert_eq!((after.timeout(), after.has_retries()), (Some(5 * SECOND), false));
    assert!(after.breaker().is_none());
    let by_type = current.actor_before_lock("byType", "1");
    assert!(same(&by_type, &current.actor_before_lock("byType", "2")));
    assert_eq!(by_type.site().unwrap().labels.as_ref().unwrap().target, "actor_byType");
}

#[test]
fn a_component_has_one_breaker_for_each_of_its_policies() {
    let registry = registry(ALL);
    let get = |name, direction| registry.component(name, ComponentType::Pubsub, direction);
    let outbound = get("pubsub", Direction::Outbound);
    assert!(same(&outbound, &get("pubsub", Direction::Inbound)));
    assert_eq!(outbound.breaker().unwrap().name(), "cb-pubsub");
    assert_eq!(outbound.site().unwrap().operation, "component[pubsub] output");
    let labels = outbound.site().unwrap().labels.clone().unwrap();
    assert_eq!((labels.target.as_str(), labels.direction), ("Pubsub_pubsub", Direction::Outbound));
    assert!(!same(&get("two", Direction::Outbound), &get("two", Direction::Inbound)));
    assert!(same(&get("two", Direction::Outbound), &get("two", Direction::Outbound)));
}

#[test]
fn the_closest_default_applies_to_what_is_not_named() {
    let registry = registry(
        r#"{"policies": {
            "timeouts": {"DefaultTimeoutPolicy": "1s", "DefaultComponentOutboundTimeoutPolicy": "2s",
                         "DefaultStatestoreComponentOutboundTimeoutPolicy": "3s", "DefaultComponentTimeoutPolicy": "4s",
                         "DefaultActorTimeoutPolicy": "5s"},
            "retries": {"DefaultAppRetryPolicy": {"maxRetries": 7}, "DefaultRetryPolicy": {"maxRetries": 8}},
            "circuitBreakers": {"DefaultCircuitBreakerPolicy": {}}},
          "targets": {"apps": {"named": {}}, "components": {"named": {}}}}"#,
    );
    let timeout = |component, direction| registry.component("c", component, direction).timeout().unwrap();
    assert_eq!(timeout(ComponentType::Statestore, Direction::Outbound), 3 * SECOND);
    assert_eq!(timeout(ComponentType::Lock, Direction::Outbound), 2 * SECOND);
    assert_eq!(timeout(ComponentType::Statestore, Direction::Inbound), 4 * SECOND);
    assert!(registry.component("named", ComponentType::Lock, Direction::Outbound).is_empty());
    let app = registry.app("x", "x:m");
    assert_eq!((app.timeout(), app.retry().unwrap().max_retries), (Some(SECOND), Some(7)));
    assert!(same(&app, &registry.app("x", "x:m")) && !same(&app, &registry.app("x", "x:n")));
    assert!(!same(&app, &registry.app("y", "x:m")), "applications share none");
    assert!(registry.app("named", "named:m").is_empty(), "a target that is named has what it names");
    let current = registry.current();
    assert_eq!(current.actor_after_lock("t", "1").timeout(), Some(5 * SECOND));
    let before = current.actor_before_lock("t", "1");
    assert_eq!(before.retry().unwrap().max_retries, Some(8));
    assert!(same(&before, &current.actor_before_lock("t", "2")));
}

#[test]
fn built_in_policies_can_be_raised_and_not_lowered() {
    let registry = Registry::new(Arc::new(Unobserved));
    let retries = |built_in| registry.built_in(built_in).retry().unwrap().max_retries;
    assert_eq!(retries(BuiltIn::ServiceRetries), Some(3));
    assert!(!registry.built_in(BuiltIn::ActorReminderRetries).has_retries());
    let report = registry.apply(&[spec(
        r#"{"policies": {"retries": {
            "DaprBuiltInServiceRetries": {"duration": "2s", "maxRetries": 10},
            "DaprBuiltInActorRetries": {"maxRetries": 1},
            "DaprBuiltInInitializationRetries": {"maxRetries": -1},
            "DaprBuiltInActorNotFoundRetries": {"maxRetries": 9}}},
          "targets": {"apps": {"b": {"retry": "DaprBuiltInServiceRetries"}}}}"#,
    )]);
    assert_eq!(report.warnings.len(), 3);
    assert_eq!(
        report.warnings[1].to_string(),
        "Attempted override of DaprBuiltInActorRetries did not meet minimum retry count, resetting to 3."
    );
    assert_eq!(retries(BuiltIn::ServiceRetries), Some(10));
    assert_eq!(retries(BuiltIn::ActorRetries), Some(3));
    assert_eq!(retries(BuiltIn::InitializationRetries), Some(3), "without end is too few, as in Dapr");
    assert_eq!(retries(BuiltIn::ActorNotFoundRetries), Some(5));
    assert_eq!(registry.app("b", "b:m").retry().unwrap().backoff, Backoff::Constant(2 * SECOND));
    assert!(registry.built_in(BuiltIn::ServiceRetries).site().unwrap().labels.is_none());
}

#[test]
fn a_target_may_name_a_built_in_policy_that_no_resource_replaces() {
    let registry = registry(r#"{"targets": {"apps": {"b": {"retry": "DaprBuiltInServiceRetries"}}}}"#);
    assert_eq!(registry.app("b", "b:m").retry(), Some(&Retry::constant(SECOND, Some(3))));
}

#[test]
fn later_resources_replace_what_earlier_ones_name() {
    let registry = Registry::new(Arc::new(Unobserved));
    registry.apply(&[
        spec(r#"{"name": "one", "policies": {"timeouts": {"t": "1s", "u": "3s"}}, "targets": {"apps": {"a": {"timeout": "t"}}}}"#),
        spec(r#"{"name": "two", "policies": {"timeouts": {"t": "2s"}}, "targets": {"apps": {"b": {"timeout": "u"}}}}"#),
    ]);
    assert_eq!(registry.app("a", "a:m").timeout(), Some(2 * SECOND));
    assert_eq!(registry.app("b", "b:m").timeout(), Some(3 * SECOND), "policies are shared");
    assert_eq!(&*registry.app("a", "a:m").site().unwrap().labels.as_ref().unwrap().name, "two");
}

#[test]
fn what_is_odd_is_said() {
    let registry = Registry::new(Arc::new(Unobserved));
    let report = registry.apply(&[spec(
        r#"{"policies": {"circuitBreakers": {"cb": {"trip": "request > 1"}}},
          "targets": {"components": {"c": {"outbound": {"retry": "none", "circuitBreaker": "none"}}}}}"#,
    )]);
    assert_eq!(report.warnings.len(), 3, "{:?}", report.warnings);
    assert!(registry.component("c", ComponentType::Lock, Direction::Outbound).is_empty());
}

#[test]
fn a_resource_with_a_mistake_is_refused_and_the_last_good_one_goes_on() {
    let registry = registry(ALL);
    let mut broken = spec(ALL);
    broken.policies.timeouts.insert("bad".into(), "soon".into());
    let other = spec(r#"{"name": "other", "policies": {"timeouts": {"DefaultAppTimeoutPolicy": "7s"}}}"#);
    let report = registry.apply(&[broken.clone(), other.clone()]);
    assert_eq!(report.refused[0].error.to_string(), "invalid duration \"bad\", soon");
    assert!(report.refused[0].is_previous_kept && report.is_changed);
    assert_eq!(report.loaded, [ResourceName { name: "other".into(), namespace: String::new() }]);
    assert_eq!(registry.app("b", "b:m").timeout(), Some(5 * SECOND));
    assert_eq!(registry.app("x", "x:m").timeout(), Some(7 * SECOND));
    assert!(!registry.apply(&[broken, other]).is_changed);

    let report =
        registry.apply(&[spec(r#"{"name": "new", "policies": {"retries": {"a": {"policy": "x"}}}}"#)]);
    assert!(!report.refused[0].is_previous_kept);
    assert!(registry.app("b", "b:m").is_empty());
}

#[test]
fn refuses_targets_that_cannot_be() {
    for (targets, error) in [
        (r#"{"actors": {"a": {"circuitBreaker": "cb"}}}"#, "actor circuit breakers must include scope"),
        (
            r#"{"actors": {"a": {"circuitBreaker": "cb", "circuitBreakerScope": "x"}}}"#,
            "unknown circuit breaker scope \"x\"",
        ),
        (
            r#"{"apps": {"a": {"circuitBreakerCacheSize": -1}}}"#,
            "invalid circuit breaker cache size -1 of \"a\"",
        ),
    ] {
        let registry = Registry::new(Arc::new(Unobserved));
        let report = registry.apply(&[spec(&format!(r#"{{"targets": {targets}}}"#))]);
        assert_eq!(report.refused[0].error.to_string(), error);
    }
}

struct Broken;

impl Failure for Broken {}

async fn open(policy: &Policy) -> Arc<Breaker> {
    while policy.breaker().unwrap().state().0 == State::Closed {
        let _ = run(policy, async |_| Err::<(), _>(Broken)).await;
    }
    policy.breaker().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn breakers_of_unchanged_policies_keep_their_state() {
    let registry = registry(ALL);
    let store =
        || registry.component("store", ComponentType::Statestore, Direction::Outbound).without_retry();
    let app = || registry.app("b", "b:m").without_retry();
    let actor = || registry.current().actor_before_lock("byType", "1").without_retry();
    let (of_store, of_app, of_actor) = (open(&store()).await, open(&app()).await, open(&actor()).await);

    let mut changed = spec(ALL);
    changed.policies.timeouts.insert("general".into(), "9s".into());
    assert!(registry.apply(&[changed.clone()]).is_changed);
    assert_eq!(app().timeout(), Some(9 * SECOND), "the change holds");
    assert!(Arc::ptr_eq(&of_store, store().breaker().unwrap()));
    assert!(Arc::ptr_eq(&of_app, app().breaker().unwrap()));
    assert!(Arc::ptr_eq(&of_actor, actor().breaker().unwrap()));

    changed.policies.circuit_breakers.get_mut("cb").unwrap().timeout = "1s".into();
    registry.apply(&[changed]);
    for policy in [store(), app(), actor()] {
        assert_eq!(policy.breaker().unwrap().state().0, State::Closed, "a changed policy begins anew");
    }
}

#[tokio::test(start_paused = true)]
async fn breakers_of_defaults_keep_their_state() {
    let defaults = r#"{"policies": {"circuitBreakers": {"DefaultCircuitBreakerPolicy": {}}}}"#;
    let registry = registry(defaults);
    let before = open(&registry.app("x", "x:m")).await;
    registry.apply(&[spec(defaults), spec(r#"{"name": "other"}"#)]);
    assert!(Arc::ptr_eq(&before, registry.app("x", "x:m").breaker().unwrap()));
}

#[test]
fn content_that_did_not_change_does_nothing() {
    let registry = registry(ALL);
    let before = registry.current().clone();
    assert_eq!(registry.apply(&[spec(ALL)]), Report::default());
    assert!(Arc::ptr_eq(&before, &registry.current()));
    assert!(registry.apply(&[]).is_changed);
    assert!(registry.app("b", "b:m").is_empty());
}

#[tokio::test(start_paused = true)]
async fn calls_go_on_while_policies_change() {
    struct Counting(std::sync::atomic::AtomicU64);
    impl Observer for Counting {
        fn on_event(&self, _: &Site, event: Event<'_>) {
            if matches!(event, Event::Attempt { .. }) {
                self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
    }
    let heard = Arc::new(Counting(0.into()));
    let registry = Arc::new(Registry::new(heard.clone()));
    registry.apply(&[spec(ALL)]);
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let registry = registry.clone();
            tokio::spawn(async move {
                for _ in 0..100 {
                    let policy = registry.app("b", "b:m");
                    let result = run(&policy, async |_| {
                        tokio::task::yield_now().await;
                        Ok::<_, Broken>(())
                    });
                    assert!(result.await.is_ok());
                }
            })
        })
        .collect();
    for change in 0..100 {
        let mut changed = spec(ALL);
        changed.policies.timeouts.insert("general".into(), format!("{}s", change + 1));
        registry.apply(&[changed]);
        tokio::task::yield_now().await;
    }
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(heard.0.load(std::sync::atomic::Ordering::Relaxed), 400);
}
