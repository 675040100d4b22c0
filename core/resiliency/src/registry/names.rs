//! The names that have a meaning of their own: built-in policies, and those that apply where nothing is said of a target.

use std::time::Duration;

use crate::{event::Direction, retry::Retry};

/// A retry policy that is always there. A resource may replace it by one of its name, save [`BuiltIn::ActorNotFoundRetries`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BuiltIn {
    /// Invocation of another runtime, where no policy of a resource names the application.
    ServiceRetries,
    /// Calls of actors elsewhere.
    ActorRetries,
    /// Reminders. Dapr leaves its number of retries at zero, so that there are none.
    ActorReminderRetries,
    /// Looking for an actor that moves.
    ActorNotFoundRetries,
    /// Asking the application for its configuration and subscriptions, and starting components.
    InitializationRetries,
}

impl BuiltIn {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::ServiceRetries,
        Self::ActorRetries,
        Self::ActorReminderRetries,
        Self::ActorNotFoundRetries,
        Self::InitializationRetries,
    ];

    /// Its name in resources.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ServiceRetries => "DaprBuiltInServiceRetries",
            Self::ActorRetries => "DaprBuiltInActorRetries",
            Self::ActorReminderRetries => "DaprBuiltInActorReminderRetries",
            Self::ActorNotFoundRetries => "DaprBuiltInActorNotFoundRetries",
            Self::InitializationRetries => "DaprBuiltInInitializationRetries",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|built_in| built_in.name() == name)
    }

    pub(super) fn is_protected(self) -> bool {
        self == Self::ActorNotFoundRetries
    }

    /// What it is where no resource replaces it.
    #[must_use]
    pub fn retry(self) -> Retry {
        let seconds = Duration::from_secs;
        match self {
            Self::ServiceRetries | Self::ActorRetries => Retry::constant(seconds(1), Some(3)),
            Self::ActorReminderRetries => Retry::exponential(seconds(60), seconds(15 * 60), Some(0)),
            Self::ActorNotFoundRetries => Retry::constant(seconds(1), Some(5)),
            Self::InitializationRetries => Retry::exponential(seconds(1), seconds(10), Some(3)),
        }
    }
}

/// What a component is to its caller. It stands in the names of default policies and in the label `target`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ComponentType {
    /// A binding.
    Binding,
    /// A configuration store.
    Configuration,
    /// A conversation.
    Conversation,
    /// Cryptography.
    Crypto,
    /// A lock.
    Lock,
    /// Publish and subscribe.
    Pubsub,
    /// A secret store.
    Secretstore,
    /// A state store.
    Statestore,
}

impl ComponentType {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Binding,
        Self::Configuration,
        Self::Conversation,
        Self::Crypto,
        Self::Lock,
        Self::Pubsub,
        Self::Secretstore,
        Self::Statestore,
    ];

    /// Its name in Dapr.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Binding => "Binding",
            Self::Configuration => "Configuration",
            Self::Conversation => "Conversation",
            Self::Crypto => "Crypto",
            Self::Lock => "Lock",
            Self::Pubsub => "Pubsub",
            Self::Secretstore => "Secretstore",
            Self::Statestore => "Statestore",
        }
    }
}

/// What default policies are for.
#[derive(Debug, Clone, Copy)]
pub(super) enum DefaultFor {
    Apps,
    Actors,
    Components(ComponentType, Direction),
}

impl DefaultFor {
    /// The names of a kind of default policy (`Retry`, `Timeout`, `CircuitBreaker`), the closest first.
    pub(super) fn names(self, kind: &str) -> Vec<String> {
        let of = |level: &str| format!("Default{level}{kind}Policy");
        match self {
            Self::Apps => vec![of("App"), of("")],
            Self::Actors => vec![of("Actor"), of("")],
            Self::Components(component, direction) => {
                let direction = match direction {
                    Direction::Inbound => "Inbound",
                    Direction::Outbound => "Outbound",
                };
                let component = component.label();
                vec![
                    of(&format!("{component}Component{direction}")),
                    of(&format!("Component{direction}")),
                    of("Component"),
                    of(""),
                ]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_names_go_from_the_closest_to_the_widest() {
        let component = DefaultFor::Components(ComponentType::Statestore, Direction::Outbound);
        assert_eq!(
            component.names("Timeout"),
            [
                "DefaultStatestoreComponentOutboundTimeoutPolicy",
                "DefaultComponentOutboundTimeoutPolicy",
                "DefaultComponentTimeoutPolicy",
                "DefaultTimeoutPolicy",
            ]
        );
        assert_eq!(DefaultFor::Apps.names("Retry"), ["DefaultAppRetryPolicy", "DefaultRetryPolicy"]);
        assert_eq!(
            DefaultFor::Actors.names("CircuitBreaker"),
            ["DefaultActorCircuitBreakerPolicy", "DefaultCircuitBreakerPolicy",]
        );
    }

    #[test]
    fn built_in_policies_are_daprs() {
        let second = Duration::from_secs(1);
        assert_eq!(BuiltIn::ServiceRetries.retry(), Retry::constant(second, Some(3)));
        assert_eq!(BuiltIn::ActorNotFoundRetries.retry(), Retry::constant(second, Some(5)));
        assert_eq!(BuiltIn::named("DaprBuiltInActorRetries"), Some(BuiltIn::ActorRetries));
        assert_eq!(BuiltIn::named("DaprBuiltIn"), None);
    }
}
