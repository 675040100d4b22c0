//! What every component of a capability must do, run on a plugin file that is loaded as the product loads it.
//!
//! A [`Row`] is a component with what it does not do: a Dapr Component resource with a section `conformance`, as they stand in
//! each plugin's own `conformance.yaml`. [`check`] opens it and holds it to the checks of every capability that the plugin
//! offers its type for: `state.rs`, `pubsub/` and so on, one module each.

mod configuration;
mod conversation;
mod crypto;
mod input_binding;
mod lock;
mod middleware;
mod name_resolution;
mod object;
mod output_binding;
mod plugin;
mod pubsub;
mod row;
mod secret;
mod state;
mod subject;

use std::collections::BTreeSet;
use std::path::Path;

use mecha_plugin_api::Capability;
use mecha_plugin_api::binding::InputBindingObject;
use mecha_plugin_host::Refusal;

pub use row::{Key, Lack, Row, RowError, rows, rows_with};

use plugin::Plugin;
use subject::Subject;

/// One check on one component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The component type.
    pub type_name: String,
    /// The capability.
    pub capability: &'static str,
    /// What was checked.
    pub check: String,
    /// Passed, or why not.
    pub result: Result<(), String>,
}

/// Why nothing could be checked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The running process would refuse the file.
    #[error(transparent)]
    Refused(Refusal),
    /// There is no place for the plugin's copy.
    #[error("cannot prepare a folder for the plugin: {0}")]
    Folder(#[from] std::io::Error),
    /// The host does not take the file up.
    #[error("the plugin was not loaded")]
    NotLoaded,
    /// The plugin does not have the row's component type.
    #[error("the plugin offers no {wanted}; it offers {offered}")]
    Type {
        /// The type and its version.
        wanted: String,
        /// What it does offer.
        offered: String,
    },
}

/// Why a check failed.
type Checked = Result<(), String>;

/// The component types that a plugin offers, with their versions; one that serves as several things is named once.
///
/// # Errors
/// [`Error`] when the file cannot be loaded.
pub async fn offered(library: &Path) -> Result<BTreeSet<(String, String)>, Error> {
    let plugin = Plugin::load(library)?;
    let components = &plugin.generation().description().components;
    let types = components.iter().map(|one| (one.type_name.to_string(), one.version.to_string())).collect();
    plugin.retire().await;
    Ok(types)
}

/// Holds a component to the checks of its capabilities, and tells of each as soon as it ran.
///
/// # Errors
/// [`Error`] when nothing could be checked.
pub async fn check(library: &Path, row: &Row, tell: &mut (dyn FnMut(Outcome) + Send)) -> Result<(), Error> {
    let mut plugin = Plugin::load(library)?;
    let capabilities = plugin.capabilities(&row.type_name, &row.version)?;
    for capability in &capabilities {
        let mut tell = |check: &str, result| {
            let (type_name, check) = (row.type_name.clone(), check.replace('_', " "));
            tell(Outcome { type_name, capability: capability.name(), check, result });
        };
        let subject = Subject { plugin: &plugin, row };
        match *capability {
            Capability::STATE_STORE => state::all(&subject, &mut tell).await,
            Capability::SECRET_STORE => secret::all(&subject, &mut tell).await,
            Capability::OUTPUT_BINDING => output_binding::all(&subject, &mut tell).await,
            // Its row names nothing to read: it is an output only.
            Capability::INPUT_BINDING if subject.declines::<InputBindingObject>().await => {}
            Capability::INPUT_BINDING => {
                let is_output = capabilities.contains(&Capability::OUTPUT_BINDING);
                input_binding::all(&subject, is_output, &mut tell).await;
            }
            Capability::PUBSUB => {
                pubsub::all(&subject, &mut tell).await;
                let replaced = pubsub::replacing_it_loses_nothing(&mut plugin, row).await;
                tell("replacing_it_loses_nothing", replaced);
            }
            Capability::CONFIGURATION_STORE => configuration::all(&subject, &mut tell).await,
            Capability::LOCK_STORE => lock::all(&subject, &mut tell).await,
            Capability::CRYPTO => crypto::all(&subject, &mut tell).await,
            Capability::CONVERSATION => conversation::all(&subject, &mut tell).await,
            Capability::OBJECT_STORE => object::all(&subject, &mut tell).await,
            Capability::NAME_RESOLUTION => name_resolution::all(&subject, &mut tell).await,
            Capability::MIDDLEWARE => middleware::all(&subject, &mut tell).await,
            // Those that came after this was built: that it opens is said by `mecha plugin inspect`.
            _ => {}
        }
    }
    plugin.retire().await;
    Ok(())
}

/// Where a suite says how its checks went.
type Tell<'a> = &'a mut (dyn FnMut(&str, Checked) + Send);

/// Runs checks one after the other and tells of each.
macro_rules! run {
    ($subject:expr, $tell:expr, [$($check:ident),* $(,)?]) => {
        $(let result = $check($subject).await; $tell(stringify!($check), result);)*
    };
}
use run;

/// A check's expectation.
fn is<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Checked {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?} instead of {expected:?}")) }
}

/// An error of the plugin as a reason.
fn because(error: impl std::fmt::Display) -> String {
    error.to_string()
}
