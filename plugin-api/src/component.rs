//! How a component is described: what a plugin offers, and what the host asks it to open.

use abi_stable::StableAbi;
use abi_stable::std_types::{RString, RVec};

use crate::{Error, Metadata, Result};

/// A kind of component. New ones are added at the end; a host ignores those it does not know.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Capability(pub u8);

impl Capability {
    /// [`crate::state::StateStore`].
    pub const STATE_STORE: Self = Self(1);
    /// [`crate::secret::SecretStore`].
    pub const SECRET_STORE: Self = Self(2);
    /// [`crate::binding::OutputBinding`].
    pub const OUTPUT_BINDING: Self = Self(3);
    /// [`crate::binding::InputBinding`].
    pub const INPUT_BINDING: Self = Self(4);
    /// [`crate::pubsub::PubSub`].
    pub const PUBSUB: Self = Self(5);
    /// [`crate::configuration::ConfigurationStore`].
    pub const CONFIGURATION_STORE: Self = Self(6);
    /// [`crate::lock::LockStore`].
    pub const LOCK_STORE: Self = Self(7);
    /// [`crate::crypto::Crypto`].
    pub const CRYPTO: Self = Self(8);
    /// [`crate::conversation::Conversation`].
    pub const CONVERSATION: Self = Self(9);
    /// [`crate::object::ObjectStore`].
    pub const OBJECT_STORE: Self = Self(10);
    /// [`crate::name_resolution::NameResolution`].
    pub const NAME_RESOLUTION: Self = Self(11);
    /// [`crate::middleware::Middleware`].
    pub const MIDDLEWARE: Self = Self(12);

    /// The name in logs, metrics and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::STATE_STORE => "state",
            Self::SECRET_STORE => "secret",
            Self::OUTPUT_BINDING => "output_binding",
            Self::INPUT_BINDING => "input_binding",
            Self::PUBSUB => "pubsub",
            Self::CONFIGURATION_STORE => "configuration",
            Self::LOCK_STORE => "lock",
            Self::CRYPTO => "crypto",
            Self::CONVERSATION => "conversation",
            Self::OBJECT_STORE => "object",
            Self::NAME_RESOLUTION => "name_resolution",
            Self::MIDDLEWARE => "middleware",
            _ => "unknown",
        }
    }
}

/// One component type that a plugin offers.
#[repr(C)]
#[derive(StableAbi, Clone, PartialEq, Debug)]
pub struct ComponentType {
    /// The capability.
    pub capability: Capability,
    /// Dapr's type, e.g. `state.redis`.
    pub type_name: RString,
    /// Dapr's component version, `v1` unless said otherwise.
    pub version: RString,
}

/// What a plugin says about itself before anything is started.
#[repr(C)]
#[derive(StableAbi, Clone, PartialEq, Debug)]
pub struct PluginDescription {
    /// The plugin's name, e.g. `redis`.
    pub name: RString,
    /// The plugin's own version (semver).
    pub version: RString,
    /// Every component type it offers.
    pub components: RVec<ComponentType>,
}

/// A component to open: its name, its type and its metadata with every secret already resolved.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct ComponentSpec {
    /// The name that applications use.
    pub name: RString,
    /// Dapr's type, e.g. `state.redis`.
    pub type_name: RString,
    /// Dapr's component version.
    pub version: RString,
    /// The application that the component is opened for.
    pub app_id: RString,
    /// The component's metadata; key look-ups ignore case.
    pub metadata: Metadata,
}

impl ComponentSpec {
    /// A specification as a test writes it.
    pub fn new(name: &str, type_name: &str, metadata: Metadata) -> Self {
        Self {
            name: name.into(),
            type_name: type_name.into(),
            version: "v1".into(),
            app_id: "app".into(),
            metadata,
        }
    }

    /// The value of `key` when it is present and not empty.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).filter(|value| !value.is_empty())
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::INVALID`] naming the field when it is absent or empty.
    pub fn required(&self, key: &str) -> Result<&str> {
        self.text(key).ok_or_else(|| Error::invalid("required metadata field is missing").with_field(key))
    }

    /// The value of `key` parsed, or `default` when it is absent or empty.
    ///
    /// # Errors
    /// [`crate::ErrorKind::INVALID`] naming the field when it does not parse.
    pub fn parsed<T: std::str::FromStr>(&self, key: &str, default: T) -> Result<T>
    where
        T::Err: std::fmt::Display,
    {
        match self.text(key) {
            None => Ok(default),
            Some(text) => text
                .trim()
                .parse()
                .map_err(|error| Error::invalid(format!("invalid value: {error}")).with_field(key)),
        }
    }

    /// A yes/no field in the spellings that Dapr accepts (`true`, `yes`, `y`, `on`, `1`, `t`); anything else is no.
    pub fn flag(&self, key: &str) -> bool {
        let value = self.metadata.get(key).unwrap_or_default().trim().to_ascii_lowercase();
        matches!(value.as_str(), "true" | "yes" | "y" | "on" | "1" | "t")
    }

    /// A duration in Go's form (`1m30s`, `250ms`), or plain seconds, or `default`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::INVALID`] naming the field when it does not parse.
    pub fn duration(&self, key: &str, default: std::time::Duration) -> Result<std::time::Duration> {
        match self.text(key) {
            None => Ok(default),
            Some(text) => crate::duration::parse(text).ok_or_else(|| {
                Error::invalid(format!("'{text}' is not a duration such as 1m30s or 250ms")).with_field(key)
            }),
        }
    }
}
