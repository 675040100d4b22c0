//! The command line, the environment and a file of settings.

use std::path::Path;

use mecha_settings::{Environment, Invocation};

/// The first line holds arguments, the second variables (`NAME=value`), both separated by tabs; the rest is `mecha.yaml`.
pub(crate) fn settings(data: &[u8]) {
    let [arguments, variables, file] = crate::texts(data);
    let Ok(folder) = tempfile::tempdir() else { return };
    let mut arguments: Vec<String> = words(&arguments).collect();
    if !file.is_empty() && std::fs::write(folder.path().join("mecha.yaml"), &file).is_ok() {
        arguments.extend(["--config-dir".to_owned(), folder.path().to_string_lossy().into_owned()]);
    }
    let variables = words(&variables).filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    });
    let environment = Environment::from_vars(variables);
    match Invocation::parse(arguments, environment, Path::new("plugins")) {
        Ok(Invocation::Run(resolved) | Invocation::ConfigShow(resolved)) => {
            // What was taken once is taken again.
            assert!(resolved.reload().is_ok(), "{resolved:?}");
        }
        Ok(_) => {}
        Err(error) => assert!(!error.to_string().trim().is_empty(), "an error says what is wrong"),
    }
}

fn words(line: &str) -> impl Iterator<Item = String> {
    line.split('\t').filter(|word| !word.is_empty()).map(ToOwned::to_owned)
}
