//! Files and folders → typed resources.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use crate::{
    Component, Configuration, HttpEndpoint, Resiliency, Resource, Subscription, error::FileError,
    error::FileErrorKind, yaml,
};

/// A resource and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded<T> {
    /// The resource.
    pub value: T,
    /// Its file.
    pub file: PathBuf,
    /// Which document of the file, from 0.
    pub document: usize,
}

/// Loaded resources, told apart; each kind in the order of its files.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(missing_docs, reason = "each field is named as its kind")]
pub struct ByKind {
    pub components: Vec<Loaded<Component>>,
    pub configurations: Vec<Loaded<Box<Configuration>>>,
    pub subscriptions: Vec<Loaded<Subscription>>,
    pub http_endpoints: Vec<Loaded<HttpEndpoint>>,
    pub resiliencies: Vec<Loaded<Box<Resiliency>>>,
}

impl FromIterator<Loaded<Resource>> for ByKind {
    fn from_iter<I: IntoIterator<Item = Loaded<Resource>>>(resources: I) -> Self {
        let mut kinds = Self::default();
        for Loaded { value, file, document } in resources {
            match value {
                Resource::Component(value) => kinds.components.push(Loaded { value, file, document }),
                Resource::Configuration(value) => kinds.configurations.push(Loaded { value, file, document }),
                Resource::Subscription(value) => kinds.subscriptions.push(Loaded { value, file, document }),
                Resource::HttpEndpoint(value) => kinds.http_endpoints.push(Loaded { value, file, document }),
                Resource::Resiliency(value) => kinds.resiliencies.push(Loaded { value, file, document }),
            }
        }
        kinds
    }
}

/// Loads every `.yaml`, `.yml` and `.json` file of a folder, in the order of their names, without going into
/// sub-folders. What cannot be read is reported and left out, the rest is kept.
#[must_use]
pub fn load_dir(folder: &Path) -> (Vec<Loaded<Resource>>, Vec<FileError>) {
    let (mut resources, mut errors) = (Vec::new(), Vec::new());
    match resource_files(folder) {
        Ok(files) => {
            for file in files {
                load_into(&file, &mut resources, &mut errors);
            }
        }
        Err(error) => errors.push(io_error(folder, &error)),
    }
    (resources, errors)
}

/// Loads one file, whatever its name.
#[must_use]
pub fn load_file(file: &Path) -> (Vec<Loaded<Resource>>, Vec<FileError>) {
    let (mut resources, mut errors) = (Vec::new(), Vec::new());
    load_into(file, &mut resources, &mut errors);
    (resources, errors)
}

fn resource_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // Through symlinks: Kubernetes mounts a ConfigMap as links into a hidden folder.
        if is_resource_file(&path) && !path.is_dir() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Whether a folder's file with this name is read.
pub fn is_resource_file(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    ["yaml", "yml", "json"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

fn load_into(file: &Path, resources: &mut Vec<Loaded<Resource>>, errors: &mut Vec<FileError>) {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        // Deleted since the folder was listed; the next event on the folder tells the same story.
        Err(error) if error.kind() == ErrorKind::NotFound => return,
        Err(error) => return errors.push(io_error(file, &error)),
    };
    for (document, text) in yaml::split(&text).into_iter().enumerate() {
        match yaml::parse(text).map_err(FileErrorKind::from).map(Resource::from_document) {
            Ok(None) => {}
            Ok(Some(Ok(value))) => resources.push(Loaded { value, file: file.to_owned(), document }),
            Ok(Some(Err(kind))) | Err(kind) => {
                errors.push(FileError { file: file.to_owned(), document: Some(document), kind });
            }
        }
    }
}

fn io_error(path: &Path, error: &std::io::Error) -> FileError {
    FileError { file: path.to_owned(), document: None, kind: FileErrorKind::Io(error.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPONENT: &str =
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: NAME}\nspec: {type: t}\n";

    fn component(name: &str) -> String {
        COMPONENT.replace("NAME", name)
    }

    fn names(loaded: &[Loaded<Resource>]) -> Vec<&str> {
        loaded
            .iter()
            .map(|loaded| match &loaded.value {
                Resource::Component(component) => component.name.as_str(),
                Resource::Configuration(_) => "configuration",
                Resource::Subscription(subscription) => subscription.name.as_str(),
                Resource::HttpEndpoint(endpoint) => endpoint.name.as_str(),
                Resource::Resiliency(resiliency) => resiliency.name.as_str(),
            })
            .collect()
    }

    #[test]
    fn loads_a_folder_and_keeps_what_is_sound() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("b.yaml", &format!("{}---\na: [\n---\n{}", component("b1"), component("b2")));
        write("a.YML", &format!("---\n{}---\nkind: Component\napiVersion: other/v1\n", component("a")));
        write("c.json", r#"{"apiVersion":"dapr.io/v1alpha1","kind":"Configuration","spec":{}}"#);
        write(
            "d.yaml",
            "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: d}\nspec: {type: [x]}\n",
        );
        write("notes.txt", "a: [");
        write("empty.yaml", "");
        fs::create_dir(folder.path().join("sub.yaml")).unwrap();

        let (loaded, errors) = load_dir(folder.path());
        assert_eq!(names(&loaded), ["a", "b1", "b2", "configuration"]);
        assert_eq!(loaded[2].document, 2);
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 2, "{texts:?}");
        assert!(texts[0].contains("b.yaml, document 1: line"), "{}", texts[0]);
        assert!(
            texts[1].contains("d.yaml, document 0: spec.type: expected text, found a list"),
            "{}",
            texts[1]
        );
    }

    #[test]
    fn tells_kinds_and_versions_apart() {
        let document = |version: &str, kind: &str, name: &str, spec: &str| {
            format!(
                "---\napiVersion: dapr.io/{version}\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"
            )
        };
        let text = component("c")
            + &document("v2alpha1", "Subscription", "s2", "{topic: t, routes: {default: /two}, route: /one}")
            + &document("v1alpha1", "Subscription", "s1", "{topic: t, routes: {default: /two}, route: /one}")
            + &document("v3alpha1", "Subscription", "unknown", "{}")
            + &document("v1alpha1", "HTTPEndpoint", "e", "{baseUrl: http://x}")
            + &document("v1alpha1", "Resiliency", "r", "{}")
            + &document("v1alpha1", "Configuration", "conf", "{}");
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        let (loaded, errors) = load_file(file.path());
        assert_eq!((names(&loaded), errors), (vec!["c", "s2", "s1", "e", "r", "configuration"], Vec::new()));
        let kinds: ByKind = loaded.into_iter().collect();
        let routes: Vec<&str> = kinds.subscriptions.iter().map(|s| s.value.default_route.as_str()).collect();
        assert_eq!(routes, ["/two", "/one"]);
        let counts = (
            kinds.components.len(),
            kinds.configurations.len(),
            kinds.http_endpoints.len(),
            kinds.resiliencies.len(),
        );
        assert_eq!(counts, (1, 1, 1, 1));
        assert_eq!(kinds.subscriptions[1].document, 2);
    }

    #[test]
    fn reports_a_folder_that_is_not_there() {
        let (loaded, errors) = load_dir(Path::new("/nonexistent/folder"));
        assert!(loaded.is_empty());
        assert_eq!((errors.len(), errors[0].document), (1, None));
    }
}
