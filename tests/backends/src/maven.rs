//! Servers that come as jars, by Maven, and programs of our own in Java.

use std::ffi::OsString;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{BackendError, Result};
use crate::fetch::{Fetched, cache};
use crate::install::Program;

const JAVA: Program = Program { name: "java", package: "default-jre-headless" };
const JAVAC: Program = Program { name: "javac", package: "default-jdk-headless" };
const MAVEN: Program = Program { name: "mvn", package: "maven" };

/// A server's jars, with all that they need.
pub(crate) struct Jars {
    /// Names the folder that they are kept in; with the version of the server, which is pinned.
    pub(crate) name: &'static str,
    /// Program that they are, for errors.
    pub(crate) program: &'static str,
    /// `group:artifact:version` of each.
    pub(crate) artifacts: &'static [&'static str],
}

impl Jars {
    /// The command `java OPTIONS -cp JARS`, to which the main class and its arguments are added.
    pub(crate) fn java(&self, options: &[&str]) -> Result<Command> {
        let mut command = Command::new(JAVA.find_or_install()?);
        command.args(options).arg("-cp").arg(self.find_or_install()?.join("*"));
        Ok(command)
    }

    /// The folder of the jars; fetches them when it is not there.
    pub(crate) fn find_or_install(&self) -> Result<PathBuf> {
        let package = self.artifacts.first().copied().unwrap_or_default();
        let fetched = Fetched { name: self.name, program: self.program, package, tool: MAVEN.name };
        fetched.find_or(|work| self.copy(work))
    }

    fn copy(&self, work: &Path) -> Result<Command> {
        fs::write(work.join("pom.xml"), self.project())?;
        let mut command = Command::new(MAVEN.find_or_install()?);
        command
            .current_dir(work)
            .args(["--batch-mode", "dependency:copy-dependencies", "-DincludeScope=runtime"])
            .arg("-DoutputDirectory=out");
        Ok(command)
    }

    fn project(&self) -> String {
        let dependencies: String = self.artifacts.iter().map(|artifact| dependency(artifact)).collect();
        format!(
            "<project><modelVersion>4.0.0</modelVersion><groupId>tests</groupId><artifactId>jars</artifactId>\
             <version>1</version><dependencies>{dependencies}</dependencies></project>"
        )
    }
}

/// Programs of our own: one folder of Java sources, and what they need.
#[derive(Debug, Clone, Copy)]
pub struct JavaPrograms {
    /// Names the folder that the jars are kept in; with the version of the first of them, which is pinned.
    pub name: &'static str,
    /// `group:artifact:version` of each.
    pub artifacts: &'static [&'static str],
    /// Where the sources lie, beside each other.
    pub folder: &'static str,
}

/// Compiled programs.
#[derive(Debug, Clone)]
pub struct Java {
    /// The program that runs classes.
    pub program: PathBuf,
    /// Where it finds them: `java -cp CLASS_PATH CLASS`.
    pub class_path: OsString,
}

impl JavaPrograms {
    /// The programs, compiled from the sources as they are now.
    pub fn build(&self) -> Result<Java> {
        let jars = Jars { name: self.name, program: self.name, artifacts: self.artifacts };
        let jars = jars.find_or_install()?.join("*");
        let (sources, version) = self.sources()?;
        let classes = cache()?.join(format!("{}-classes-{version:x}", self.name));
        // Of several processes one compiles and the others wait.
        let lock = File::create(cache()?.join(format!("{}-classes.lock", self.name)))?;
        lock.lock()?;
        if !classes.is_dir() {
            compile(&sources, &jars, &classes)?;
        }
        let mut class_path = classes.into_os_string();
        class_path.push(":");
        class_path.push(jars);
        Ok(Java { program: JAVA.find_or_install()?, class_path })
    }

    /// The files, and a number that changes with what is in them.
    fn sources(&self) -> Result<(Vec<PathBuf>, u64)> {
        let entries = fs::read_dir(self.folder)?.collect::<std::io::Result<Vec<_>>>()?;
        let mut files: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "java"));
        files.sort();
        let mut version = DefaultHasher::new();
        for file in &files {
            fs::read(file)?.hash(&mut version);
        }
        Ok((files, version.finish()))
    }
}

fn compile(sources: &[PathBuf], jars: &Path, classes: &Path) -> Result<()> {
    let work = tempfile::tempdir_in(cache()?)?;
    let out = work.path().join("out");
    let mut command = Command::new(JAVAC.find_or_install()?);
    command.arg("-d").arg(&out).arg("-cp").arg(jars).args(sources);
    let output = command.output()?;
    if !output.status.success() {
        let answer = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(BackendError::Refused { request: JAVAC.name.to_owned(), answer });
    }
    // Complete or not there at all.
    Ok(fs::rename(out, classes)?)
}

fn dependency(artifact: &str) -> String {
    let mut parts = artifact.split(':');
    let mut part = |tag: &str| format!("<{tag}>{}</{tag}>", parts.next().unwrap_or_default());
    format!("<dependency>{}{}{}</dependency>", part("groupId"), part("artifactId"), part("version"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_names_each_artifact() {
        let jars = Jars { name: "x-1", program: "x", artifacts: &["a.b:c:1.2", "d:e:3"] };
        let project = jars.project();
        let first = "<groupId>a.b</groupId><artifactId>c</artifactId><version>1.2</version>";
        assert!(project.contains(first), "{project}");
        assert!(project.contains("<artifactId>e</artifactId><version>3</version>"), "{project}");
    }
}
