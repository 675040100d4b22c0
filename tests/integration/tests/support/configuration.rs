//! A Dapr Configuration in a file of its own, for the flag `--config`.

use tempfile::NamedTempFile;

/// A Configuration whose `spec` is this JSON.
pub fn configuration(spec: &serde_json::Value) -> NamedTempFile {
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    // JSON is YAML.
    let resource = serde_json::json!({
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Configuration",
        "metadata": {"name": "test"},
        "spec": spec,
    });
    std::fs::write(file.path(), resource.to_string()).unwrap();
    file
}

/// The file's path as a flag's value.
pub fn path(file: &NamedTempFile) -> &str {
    file.path().to_str().unwrap()
}
