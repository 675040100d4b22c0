//! What the filters of `cargo xtask test` stand for, and which back ends that needs.

use std::fs;
use std::path::{Path, PathBuf};

use crate::backends::{ALL, BackEnd};
use crate::workspace::Workspace;

/// What the filters stand for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    packages: Vec<String>,
    files: Vec<String>,
    names: Vec<String>,
}

impl Selection {
    pub(crate) fn of(workspace: &Workspace, filters: &[String]) -> Self {
        let mut selection = Self::default();
        for filter in filters {
            if let Some(package) = workspace.package(filter) {
                selection.packages.push(package.name.clone());
            } else if workspace.has_test_file(filter) {
                selection.files.push(filter.clone());
            } else {
                selection.names.push(filter.clone());
            }
        }
        selection
    }

    /// Cargo's arguments.
    pub(crate) fn args(&self) -> Vec<String> {
        let mut args = vec!["test".to_owned()];
        if self.packages.is_empty() {
            args.push("--workspace".to_owned());
        }
        args.extend(self.packages.iter().flat_map(|package| ["--package".to_owned(), package.clone()]));
        args.extend(self.files.iter().flat_map(|file| ["--test".to_owned(), file.clone()]));
        // Every test program runs, so that one failure does not hide another; what a passing test printed, such as a
        // measured figure, is shown as well.
        args.extend(["--no-fail-fast", "--", "--show-output"].map(str::to_owned));
        args.extend(self.names.iter().cloned());
        args
    }

    /// The back ends that the chosen tests ask for, as their sources say: a wrong guess costs a start, or lets a test start
    /// its own.
    pub(crate) fn back_ends(&self, workspace: &Workspace) -> Vec<&'static BackEnd> {
        let programs = workspace.test_programs(&self.packages, &self.files);
        let sources: Vec<String> = programs.into_iter().map(sources).collect();
        let chosen: Vec<&String> = sources.iter().filter(|sources| self.may_run(sources)).collect();
        let is_needed = |back_end: &&BackEnd| chosen.iter().any(|sources| back_end.is_asked_for(sources));
        ALL.iter().filter(is_needed).collect()
    }

    /// Whether a program with these sources can have a test that is chosen by its name.
    fn may_run(&self, sources: &str) -> bool {
        let mut names = self.names.iter().filter_map(|name| name.rsplit("::").find(|part| !part.is_empty()));
        self.names.is_empty() || names.any(|name| sources.contains(name))
    }
}

/// The paths and texts of a test program's sources, which begin in this file.
fn sources(root: &Path) -> String {
    let is_folder = root.file_name().is_some_and(|name| name == "lib.rs" || name == "main.rs");
    let start = if is_folder { root.parent().unwrap_or(root) } else { root };
    let mut text = String::new();
    add(start, &mut text);
    text
}

fn add(path: &Path, text: &mut String) {
    if let Ok(folder) = fs::read_dir(path) {
        folder.flatten().for_each(|entry| add(&entry.path(), text));
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        let source = fs::read_to_string(path).unwrap_or_default();
        included(path, &source).iter().for_each(|file| add(file, text));
        *text += &format!("{}\n{source}\n", path.display());
    }
}

/// The files that a source takes in from elsewhere.
fn included(path: &Path, source: &str) -> Vec<PathBuf> {
    let folder = path.parent().unwrap_or(path);
    let lines =
        source.lines().filter_map(|line| line.trim().strip_prefix("#[path = \"")?.strip_suffix("\"]"));
    lines.map(|file| folder.join(file)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(workspace: &Workspace, filters: &[&str]) -> Selection {
        let filters: Vec<_> = filters.iter().map(|filter| (*filter).to_owned()).collect();
        Selection::of(workspace, &filters)
    }

    fn args(filters: &[&str]) -> String {
        selection(&Workspace::find().unwrap(), filters).args().join(" ")
    }

    #[test]
    fn filters_are_packages_test_files_or_parts_of_names() {
        assert_eq!(args(&[]), "test --workspace --no-fail-fast -- --show-output");
        assert_eq!(args(&["gateway"]), "test --package mecha-gateway --no-fail-fast -- --show-output");
        assert_eq!(
            args(&["dependency_rule"]),
            "test --workspace --test dependency_rule --no-fail-fast -- --show-output"
        );
        assert_eq!(
            args(&["sdk", "python"]),
            "test --package mecha-sdk --test python --no-fail-fast -- --show-output"
        );
        assert_eq!(args(&["xtask", "etag"]), "test --package xtask --no-fail-fast -- --show-output etag");
    }

    #[test]
    fn only_the_back_ends_that_the_chosen_tests_ask_for_are_started() {
        let workspace = Workspace::find().unwrap();
        let needs = |filters: &[&str]| -> Vec<&str> {
            let back_ends = selection(&workspace, filters).back_ends(&workspace);
            back_ends.into_iter().map(|back_end| back_end.name).collect()
        };
        assert_eq!(needs(&[]).len(), ALL.len());
        assert_eq!(needs(&["gateway"]), [""; 0]);
        assert_eq!(needs(&["dependency_rule"]), [""; 0]);
        assert_eq!(needs(&["plugin-aws"]), ["ElasticMQ (SQS)", "versitygw (S3)"]);
        // What a test takes in from `support` counts.
        assert_eq!(needs(&["state_api"]), ["Redis"]);
        // A language of the SDKs' programs.
        assert_eq!(needs(&["sdk", "python"]), ["Redis", "Kafka", "ElasticMQ (SQS)"]);
        // By a part of a test's name.
        assert_eq!(needs(&["a_way_is_slowed_cut_and_healed"]), needs(&["backends"]));
        assert_eq!(needs(&[concat!("no_test_has_", "this_name")]), [""; 0]);
    }
}
