//! What a process offers, as a plugin: its services decide the component types, its socket names them.

use std::future::Future;
use std::path::Path;

use mecha_plugin_api::{ComponentSpec, Plugin, Result};

use crate::bindings::{Input, Output};
use crate::peer::Peer;
use crate::pubsub::Broker;
use crate::secrets::Secrets;
use crate::state::Store;

/// The version of the protocol, which is all the version that such a component has.
const VERSION: &str = "v1";

/// The name in the types of a socket's components: its file name without what follows the last dot.
pub(crate) fn name_of(socket: &Path) -> String {
    socket.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// A plugin with the types that these services stand for; `None` where none of them is a building block.
pub(crate) fn plugin(name: &str, peer: &Peer, services: &[String]) -> Option<Plugin> {
    let has = |service: &str| services.iter().any(|known| known.strip_prefix(PACKAGE) == Some(service));
    let mut plugin = Plugin::new(name, VERSION);
    if has("StateStore") {
        let has_limit = has("TransactionalStoreMultiMaxSize");
        let open = opener(peer, move |peer, spec| Store::open(peer, spec, has_limit));
        plugin = plugin.state_store(&format!("state.{name}"), open);
    }
    if has("PubSub") {
        plugin = plugin.pubsub(&format!("pubsub.{name}"), opener(peer, Broker::open));
    }
    if has("OutputBinding") {
        plugin = plugin.output_binding(&format!("bindings.{name}"), opener(peer, Output::open));
    }
    if has("InputBinding") {
        plugin = plugin.input_binding(&format!("bindings.{name}"), opener(peer, Input::open));
    }
    if has("SecretStore") {
        plugin = plugin.secret_store(&format!("secretstores.{name}"), opener(peer, Secrets::open));
    }
    (!plugin.describe().components.is_empty()).then_some(plugin)
}

/// The protocol's package, with the dot that ends it.
const PACKAGE: &str = "dapr.proto.components.v1.";

fn opener<T, F, O>(peer: &Peer, open: O) -> impl Fn(ComponentSpec) -> F + Send + Sync + use<T, F, O>
where
    F: Future<Output = Result<T>> + Send,
    O: Fn(Peer, ComponentSpec) -> F + Send + Sync,
{
    let peer = peer.clone();
    move |spec| open(peer.clone(), spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(services: &[&str]) -> Vec<String> {
        let services: Vec<_> = services.iter().map(|service| format!("{PACKAGE}{service}")).collect();
        let peer = Peer::at(Path::new("/nowhere.sock"));
        let plugin = plugin("thing", &peer, &services).map(|plugin| plugin.describe());
        let components = plugin.into_iter().flat_map(|description| description.components);
        components.map(|component| component.type_name.into_string()).collect()
    }

    #[tokio::test]
    async fn services_stand_for_component_types() {
        assert_eq!(types(&["StateStore", "TransactionalStateStore"]), ["state.thing"]);
        assert_eq!(types(&["InputBinding", "OutputBinding"]), ["bindings.thing", "bindings.thing"]);
        assert_eq!(types(&["PubSub", "SecretStore"]), ["secretstores.thing", "pubsub.thing"]);
        assert!(types(&["QueriableStateStore"]).is_empty());
    }

    #[test]
    fn a_socket_names_its_components() {
        assert_eq!(name_of(Path::new("/sockets/my-store.sock")), "my-store");
        assert_eq!(name_of(Path::new("/sockets/my.store.sock")), "my.store");
    }
}
