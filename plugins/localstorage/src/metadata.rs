//! The component's one field: `rootPath`.

use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use mecha_plugin_api::{ComponentSpec, Error, Result};

const ROOT_PATH: &str = "rootPath";

/// Where nothing may be read or written; Dapr's list.
const DISALLOWED: [&str; 4] = ["/proc", "/sys", "/boot", "/var/run/secrets"];

/// The folder that the files are in, absolute and without symbolic links. It need not exist yet.
pub(crate) fn root_path(spec: &ComponentSpec) -> Result<PathBuf> {
    let text =
        spec.text(ROOT_PATH).ok_or_else(|| invalid("property rootPath must not be empty".to_owned()))?;
    let absolute =
        std::path::absolute(text).map_err(|error| invalid(format!("failed to resolve it: {error}")))?;
    let root = resolve(&clean(&absolute))?;
    if DISALLOWED.iter().any(|disallowed| root.starts_with(disallowed)) {
        return Err(invalid("property rootPath points to a disallowed location".to_owned()));
    }
    Ok(root)
}

/// Without `.` and `..`, read off the text alone.
fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                cleaned.pop();
            }
            Component::CurDir => {}
            other => cleaned.push(other),
        }
    }
    cleaned
}

/// Resolves the part that exists already.
fn resolve(path: &Path) -> Result<PathBuf> {
    for existing in path.ancestors() {
        match std::fs::metadata(existing) {
            Ok(found) if !found.is_dir() => {
                return Err(invalid("property rootPath represents a file and not a directory".to_owned()));
            }
            Ok(_) => {
                let resolved = existing.canonicalize();
                let resolved = resolved
                    .map_err(|error| invalid(format!("failed to evaluate symlinks in rootPath: {error}")))?;
                let rest = path.strip_prefix(existing).unwrap_or(Path::new(""));
                // Joining nothing would leave a slash at the end.
                return Ok(if rest.as_os_str().is_empty() { resolved } else { resolved.join(rest) });
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                let path = existing.display();
                return Err(invalid(format!("error getting stat for path {path}: {error}")));
            }
        }
    }
    Ok(path.to_owned())
}

fn invalid(message: String) -> Error {
    Error::invalid(message).with_field(ROOT_PATH)
}

#[cfg(test)]
mod tests {
    use mecha_plugin_api::Metadata;

    use super::*;

    fn root(path: &str) -> Result<PathBuf> {
        let metadata = Metadata::from_iter([(ROOT_PATH, path)]);
        root_path(&ComponentSpec::new("files", "bindings.localstorage", metadata))
    }

    #[test]
    fn links_are_resolved_before_the_place_is_judged() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        std::os::unix::fs::symlink(&real, real.join("self")).unwrap();
        let path = format!("{}/self/./x/../new/deeper/", real.display());
        assert_eq!(root(&path).unwrap(), real.join("new/deeper"));
        std::os::unix::fs::symlink("/proc", real.join("harmless")).unwrap();
        let error = root(&format!("{}/harmless/self", real.display())).unwrap_err();
        assert_eq!(error.message(), "property rootPath points to a disallowed location");
    }

    #[test]
    fn what_cannot_be_a_root_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (path, part) in [
            ("", "must not be empty"),
            ("/proc", "disallowed location"),
            ("/boot/x", "disallowed location"),
            ("/tmp/../sys", "disallowed location"),
            (file.path().to_str().unwrap(), "a file and not a directory"),
        ] {
            let error = root(path).unwrap_err();
            assert!(error.message().contains(part) && error.field() == Some(ROOT_PATH), "{path}: {error}");
        }
        assert!(root("/bootx").is_ok());
    }
}
