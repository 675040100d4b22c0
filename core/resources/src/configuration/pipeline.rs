//! Middleware pipelines and name resolution: components that a Configuration names.

use serde::Deserialize;
use serde_json::Value;

use crate::lenient;

/// Middleware in the order a request passes it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Pipeline {
    /// The middleware components.
    #[serde(deserialize_with = "lenient::or_default")]
    pub handlers: Vec<Handler>,
}

/// One middleware component of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Handler {
    /// The component's name.
    #[serde(deserialize_with = "lenient::text")]
    pub name: String,
    /// The component's type.
    #[serde(rename = "type", deserialize_with = "lenient::text")]
    pub component_type: String,
    /// The component's version.
    #[serde(deserialize_with = "lenient::text")]
    pub version: String,
    /// Which requests it is for; without fields, all.
    #[serde(deserialize_with = "lenient::or_default")]
    pub selector: Selector,
}

/// Conditions on a request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Selector {
    /// Fields and the values they must have.
    #[serde(deserialize_with = "lenient::or_default")]
    pub fields: Vec<SelectorField>,
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct SelectorField {
    /// The field's name.
    #[serde(deserialize_with = "lenient::text")]
    pub field: String,
    /// The value it must have.
    #[serde(deserialize_with = "lenient::text")]
    pub value: String,
}

/// How other applications are found.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct NameResolution {
    /// The resolver, such as `sqlite`.
    #[serde(deserialize_with = "lenient::text")]
    pub component: String,
    /// The resolver's version.
    #[serde(deserialize_with = "lenient::text")]
    pub version: String,
    /// The resolver's own settings, of any shape.
    pub configuration: Value,
}
