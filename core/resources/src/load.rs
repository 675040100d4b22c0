//! Files and folders → typed resources.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use crate::{Resource, error::FileError, error::FileErrorKind, yaml};

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

fn is_resource_file(path: &Path) -> bool {
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
    fn reports_a_folder_that_is_not_there() {
        let (loaded, errors) = load_dir(Path::new("/nonexistent/folder"));
        assert!(loaded.is_empty());
        assert_eq!((errors.len(), errors[0].document), (1, None));
    }
}
