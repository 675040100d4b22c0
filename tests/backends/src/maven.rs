//! Servers that come as jars, by Maven.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Result;
use crate::fetch::Fetched;
use crate::install::Program;

const JAVA: Program = Program { name: "java", package: "default-jre-headless" };
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
