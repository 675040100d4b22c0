//! Libraries that only tests load: plugins that fail on purpose, and builds of one plugin that differ.
//!
//! [`ROWS`] is the whole list; each row becomes `target/fixtures/<name>.so`. A test asks for one by its name
//! (`mecha_testkit::fixture`).

use std::path::Path;

use anyhow::Result;

use crate::lay::lay;
use crate::shell::Shell;
use crate::workspace::{Profile, Workspace, argument, library_of};

/// One library to build.
struct Fixture {
    /// Name of the laid file, without `.so`.
    name: &'static str,
    /// Crate below `tests/fixtures/plugins`.
    package: &'static str,
    /// Folder below `target` that the build lands in: none, or one of its own where every crate is compiled differently.
    target_dir: &'static str,
    /// Arguments for `cargo build`.
    args: &'static [&'static str],
    /// Environment of the build.
    env: &'static [(&'static str, &'static str)],
}

const SHARED: &str = "";
const PROBE: &str = "mecha-plugin-probe";
/// The probe's source turns this into what the build does.
const PROBE_BUILD: &str = "MECHA_PROBE";

const ROWS: &[Fixture] = &[
    // Two builds that answer with their names: for swaps.
    probe("probe-a", &[(PROBE_BUILD, "a")]),
    probe("probe-b", &[(PROBE_BUILD, "b")]),
    // A new version that does not come up.
    probe("probe-fails-open", &[(PROBE_BUILD, "fails-open")]),
    probe("probe-panics-open", &[(PROBE_BUILD, "panics-open")]),
    probe("probe-panics-call", &[(PROBE_BUILD, "panics-call")]),
    // As a build against an earlier 1.x of the plugin API: without its newest fields.
    Fixture { args: &["--features", "old-api"], ..probe("probe-old-api", &[(PROBE_BUILD, "a")]) },
    // A panic would end the host. The setting holds for every crate of the build, hence the folder of its own.
    Fixture {
        target_dir: "fixtures-abort",
        args: &["--config", "profile.dev.panic=\"abort\""],
        ..probe("probe-panic-abort", &[(PROBE_BUILD, "a")])
    },
    plain("incompatible", "mecha-plugin-incompatible"),
    plain("no-export", "mecha-plugin-no-export"),
    // What the conformance checks must find.
    plain("flawed", "mecha-plugin-flawed"),
];

const fn plain(name: &'static str, package: &'static str) -> Fixture {
    Fixture { name, package, target_dir: SHARED, args: &[], env: &[] }
}

const fn probe(name: &'static str, env: &'static [(&'static str, &'static str)]) -> Fixture {
    Fixture { name, package: PROBE, target_dir: SHARED, args: &[], env }
}

/// Builds every row whose crate is there and lays it into `target/fixtures`.
pub(crate) fn build(shell: &Shell, workspace: &Workspace) -> Result<()> {
    let folder = workspace.target.join("fixtures");
    for fixture in ROWS {
        if workspace.package(fixture.package).is_none() {
            println!("    skipped   {}: there is no crate {}", fixture.name, fixture.package);
            continue;
        }
        build_one(shell, workspace, fixture, &folder)?;
    }
    Ok(())
}

fn build_one(shell: &Shell, workspace: &Workspace, fixture: &Fixture, folder: &Path) -> Result<()> {
    let target_dir = workspace.target.join(fixture.target_dir);
    let mut command = shell.cargo(&["build", "--quiet", "--package", fixture.package]);
    command
        .args(["--target-dir", &argument(&target_dir)])
        .args(fixture.args)
        .envs(fixture.env.iter().copied());
    shell.step(&format!("build fixture {}", fixture.name), &mut command)?;
    // At once: the next row may build the same crate into the same place.
    let built = target_dir.join(Profile::Debug.folder()).join(library_of(fixture.package));
    lay(&built, folder, &format!("{}.so", fixture.name))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_name_is_used_once_and_each_fixture_crate_has_a_row() {
        let names: BTreeSet<_> = ROWS.iter().map(|fixture| fixture.name).collect();
        assert_eq!(names.len(), ROWS.len());
        for package in Workspace::find().unwrap().below("tests/fixtures/plugins") {
            assert!(
                ROWS.iter().any(|fixture| fixture.package == package.name),
                "{} has no row",
                package.name
            );
        }
    }
}
