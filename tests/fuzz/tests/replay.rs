//! Every input that was kept goes through its target again, and each target has some.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mecha_fuzz::TARGETS;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(folder)?;
    let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    let mut names = entries.map(name).collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

#[test]
fn every_kept_input_is_read_without_a_panic() {
    for target in TARGETS {
        let folder = corpus().join(target.name);
        let inputs = names(&folder).unwrap();
        assert!(!inputs.is_empty(), "{} holds no input", folder.display());
        for input in inputs {
            println!("{}/{input}", target.name);
            (target.run)(&fs::read(folder.join(input)).unwrap());
        }
    }
}

#[test]
fn every_folder_and_every_program_is_a_target() {
    let mut targets: Vec<_> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    targets.sort();
    assert_eq!(names(&corpus()).unwrap(), targets);
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("libfuzzer/src");
    let programs: Vec<_> = targets.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(names(&sources).unwrap(), programs);
    for name in targets {
        let source = fs::read_to_string(sources.join(format!("{name}.rs"))).unwrap();
        assert!(source.contains(&format!("target(\"{name}\")")), "{name}.rs runs another target");
    }
}
