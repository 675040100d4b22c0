//! Files of components, subscriptions, configurations, policies and endpoints.

use mecha_events::subscription::SubscriptionSpec;
use mecha_events::{RuleCompiler, TopicScopes};
use mecha_resources::component::{Sources, TemplateContext};
use mecha_resources::{Component, Resource, yaml};

/// What every secret store holds here.
const SECRET: &str = "7f3a-never-to-be-shown";

/// Every document of a file is read, and what came of it is taken in as the runtime does.
pub(crate) fn resources(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let compiler = RuleCompiler::new();
    for document in yaml::split(&text) {
        let Ok(value) = yaml::parse(document) else { continue };
        match Resource::from_document(value) {
            Some(Ok(Resource::Component(component))) => resolved(&component),
            Some(Ok(Resource::Subscription(subscription))) => {
                // A rule that does not compile is refused: that is all it may do.
                let _ = SubscriptionSpec::declarative(&subscription, &compiler);
            }
            _ => {}
        }
    }
}

/// References and placeholders are filled in, scopes are read.
fn resolved(component: &Component) {
    let template =
        TemplateContext { app_id: "app", namespace: "default", pod_name: None, uuid: &|| "uuid".to_owned() };
    let sources = Sources { template, env: &|_| None, secret: &|_| Some(SECRET.to_owned()) };
    let Ok(resolved) = component.resolve(&sources) else { return };
    let pairs = resolved.properties.iter().map(|property| (property.name.as_str(), property.value.as_str()));
    let scopes = TopicScopes::for_app("app", pairs);
    assert!(!format!("{resolved:?}").contains(SECRET), "{resolved:?}");
    let _ = scopes.may_publish("topic");
}
