//! A document → [`Component`].

use serde::Deserialize;
use serde_json::Value;

use super::{Component, DEFAULT_INIT_TIMEOUT, MetadataItem, SecretKeyRef, value::dynamic_text};
use crate::{
    duration,
    error::FileErrorKind,
    lenient,
    resource::{ObjectMeta, fix, typed},
};

#[derive(Deserialize, Default)]
#[serde(default)]
struct Document {
    #[serde(deserialize_with = "lenient::or_default")]
    metadata: ObjectMeta,
    #[serde(deserialize_with = "lenient::or_default")]
    spec: Spec,
    #[serde(deserialize_with = "lenient::or_default")]
    auth: Auth,
    #[serde(deserialize_with = "lenient::texts")]
    scopes: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    #[serde(rename = "type", deserialize_with = "lenient::text")]
    component_type: String,
    #[serde(deserialize_with = "lenient::text")]
    version: String,
    #[serde(deserialize_with = "lenient::or_default")]
    ignore_errors: bool,
    #[serde(deserialize_with = "lenient::text")]
    init_timeout: String,
    #[serde(deserialize_with = "lenient::or_default")]
    metadata: Vec<Item>,
}

/// A metadata entry as files write it.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Item {
    #[serde(deserialize_with = "lenient::text")]
    name: String,
    value: Value,
    #[serde(deserialize_with = "lenient::or_default")]
    secret_key_ref: Reference,
    #[serde(deserialize_with = "lenient::optional_text")]
    env_ref: Option<String>,
}

/// A `secretKeyRef` as files write it.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Reference {
    #[serde(deserialize_with = "lenient::text")]
    name: String,
    #[serde(deserialize_with = "lenient::text")]
    key: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Auth {
    #[serde(deserialize_with = "lenient::optional_text")]
    secret_store: Option<String>,
}

impl Component {
    /// Types a document of kind Component.
    pub fn from_document(mut document: Value) -> Result<Self, FileErrorKind> {
        fix_cases(&mut document);
        let document: Document = typed(document)?;
        document.metadata.check(<Self as crate::selection::Selectable>::KIND)?;
        if document.spec.component_type.is_empty() {
            return Err(FileErrorKind::field("spec.type", "is missing"));
        }
        Ok(Self::from(document))
    }
}

impl From<Document> for Component {
    fn from(document: Document) -> Self {
        let Document { metadata, spec, auth, scopes } = document;
        // Dapr falls back to its default for a timeout it cannot read or that is not positive.
        let init_timeout = duration::parse(&spec.init_timeout).filter(|timeout| !timeout.is_zero());
        Self {
            name: metadata.name,
            namespace: metadata.namespace,
            component_type: spec.component_type,
            version: spec.version,
            ignore_errors: spec.ignore_errors,
            init_timeout: init_timeout.unwrap_or(DEFAULT_INIT_TIMEOUT),
            metadata: spec.metadata.into_iter().map(MetadataItem::from).collect(),
            secret_store: auth.secret_store,
            scopes,
        }
    }
}

impl From<Item> for MetadataItem {
    fn from(item: Item) -> Self {
        Self {
            name: item.name,
            value: dynamic_text(&item.value),
            secret_key_ref: item.secret_key_ref.into_option(),
            env_ref: item.env_ref,
        }
    }
}

impl Reference {
    /// A reference without a name refers to nothing.
    pub(crate) fn into_option(self) -> Option<SecretKeyRef> {
        let Self { name, key } = self;
        (!name.is_empty()).then_some(SecretKeyRef { name, key })
    }
}

fn fix_cases(document: &mut Value) {
    let Some(root) = document.as_object_mut() else { return };
    lenient::fix_case(root, &["metadata", "spec", "auth", "scopes"]);
    fix(root, "metadata", &["name", "namespace"]);
    fix(root, "auth", &["secretStore"]);
    let Some(spec) = fix(root, "spec", &["type", "version", "ignoreErrors", "initTimeout", "metadata"])
    else {
        return;
    };
    fix_item_cases(spec.get_mut("metadata"));
}

/// Corrects the keys of a list of metadata entries.
pub(crate) fn fix_item_cases(items: Option<&mut Value>) {
    let items = items.and_then(Value::as_array_mut);
    for item in items.into_iter().flatten().filter_map(Value::as_object_mut) {
        lenient::fix_case(item, &["name", "value", "secretKeyRef", "envRef"]);
        fix(item, "secretKeyRef", &["name", "key"]);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::yaml;

    fn read(text: &str) -> Result<Component, FileErrorKind> {
        Component::from_document(yaml::parse(text).unwrap())
    }

    #[test]
    fn reads_every_field() {
        let component = read(
            "metadata: {name: store, namespace: prod, labels: {a: b}}
spec:
  type: state.redis
  version: v2
  ignoreErrors: true
  initTimeout: 1m
  unknown: ignored
  metadata:
  - name: a
    value: 010
  - name: b
    secretKeyRef: {name: s, key: k}
  - name: c
    envRef: HOST
  - name: d
    value: null
auth: {secretStore: vault}
scopes: [app1, 2]",
        )
        .unwrap();
        assert_eq!((component.name.as_str(), component.namespace.as_str()), ("store", "prod"));
        assert_eq!(component.log_name(), "store (state.redis/v2)");
        assert_eq!((component.ignore_errors, component.init_timeout), (true, Duration::from_secs(60)));
        assert_eq!(component.secret_store.as_deref(), Some("vault"));
        assert!(component.is_in_scope("2") && !component.is_in_scope("app3"));
        let values: Vec<Option<&str>> = component.metadata.iter().map(|item| item.value.as_deref()).collect();
        assert_eq!(values, [Some("8"), None, None, None]);
        assert_eq!(component.metadata[1].secret_key_ref.as_ref().unwrap().field(), "k");
        assert_eq!(component.metadata[2].env_ref.as_deref(), Some("HOST"));
    }

    #[test]
    fn fills_in_defaults() {
        let component =
            read("metadata: {name: store}\nspec: {type: state.memory, initTimeout: soon}").unwrap();
        assert_eq!(component, Component::new("store", "state.memory"));
        assert_eq!(
            (component.log_name().as_str(), component.version_or_default()),
            ("store (state.memory)", "v1")
        );
    }

    #[test]
    fn ignores_case_as_daprs_reader_does() {
        let component =
            read("metadata: {name: s}\nspec: {Type: t, metadata: [{name: p, secretkeyRef: {name: pass}}]}")
                .unwrap();
        assert_eq!(component.metadata[0].secret_key_ref.as_ref().unwrap().field(), "pass");
    }

    #[test]
    fn names_the_field_that_is_wrong() {
        for (text, field) in [
            (
                "metadata: {name: s}\nspec: {type: t, metadata: [{name: a}, {name: [b]}]}",
                "spec.metadata[1].name",
            ),
            ("metadata: {name: s}\nspec: {type: t, ignoreErrors: maybe}", "spec.ignoreErrors"),
            ("metadata: {name: s}\nspec: {}", "spec.type"),
            ("metadata: {name: a/b}\nspec: {type: t}", "metadata.name"),
            ("spec: {type: t}", "metadata.name"),
        ] {
            match read(text).unwrap_err() {
                FileErrorKind::Field { field: found, .. } => assert_eq!(found, field),
                other => panic!("{other:?}"),
            }
        }
    }
}
