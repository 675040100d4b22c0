//! A Resiliency resource as its file has it, handed over to what makes policies of it.

use mecha_resiliency::spec;
use mecha_resources::Resiliency;
use mecha_resources::resiliency as file;

/// The resource without its scopes.
pub(super) fn spec(resource: &Resiliency) -> spec::Resiliency {
    let Resiliency { name, namespace, policies, targets, scopes: _ } = resource;
    spec::Resiliency {
        name: name.clone(),
        namespace: namespace.clone(),
        policies: spec::Policies {
            timeouts: policies.timeouts.clone(),
            retries: each(&policies.retries, retry),
            circuit_breakers: each(&policies.circuit_breakers, circuit_breaker),
        },
        targets: spec::Targets {
            apps: each(&targets.apps, app),
            actors: each(&targets.actors, actor),
            components: each(&targets.components, component),
        },
    }
}

type ByName<T> = std::collections::BTreeMap<String, T>;

fn each<A, B>(map: &ByName<A>, convert: impl Fn(&A) -> B) -> ByName<B> {
    map.iter().map(|(name, value)| (name.clone(), convert(value))).collect()
}

fn retry(retry: &file::RetryPolicy) -> spec::Retry {
    let matching = retry.matching.as_ref().map(|matching| spec::RetryMatching {
        http_status_codes: matching.http_status_codes.clone(),
        grpc_status_codes: matching.grpc_status_codes.clone(),
    });
    spec::Retry {
        policy: retry.policy.clone(),
        duration: retry.duration.clone(),
        max_interval: retry.max_interval.clone(),
        max_retries: retry.max_retries,
        matching,
    }
}

fn circuit_breaker(breaker: &file::CircuitBreakerPolicy) -> spec::CircuitBreaker {
    spec::CircuitBreaker {
        max_requests: breaker.max_requests,
        interval: breaker.interval.clone(),
        timeout: breaker.timeout.clone(),
        trip: breaker.trip.clone(),
    }
}

fn names(names: &file::PolicyNames) -> spec::PolicyNames {
    spec::PolicyNames {
        timeout: names.timeout.clone(),
        retry: names.retry.clone(),
        circuit_breaker: names.circuit_breaker.clone(),
    }
}

fn app(app: &file::AppPolicies) -> spec::AppPolicies {
    spec::AppPolicies { names: names(&app.names), circuit_breaker_cache_size: app.circuit_breaker_cache_size }
}

fn actor(actor: &file::ActorPolicies) -> spec::ActorPolicies {
    spec::ActorPolicies {
        names: names(&actor.names),
        circuit_breaker_scope: actor.circuit_breaker_scope.clone(),
        circuit_breaker_cache_size: actor.circuit_breaker_cache_size,
    }
}

fn component(component: &file::ComponentPolicies) -> spec::ComponentPolicies {
    spec::ComponentPolicies { inbound: names(&component.inbound), outbound: names(&component.outbound) }
}
