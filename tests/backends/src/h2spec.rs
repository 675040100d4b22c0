//! h2spec: holds a server to HTTP/2 and HPACK (RFC 7540 and 7541), case by case.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use crate::error::{BackendError, Result};
use crate::go::GoProgram;

const PROGRAM: GoProgram = GoProgram {
    name: "h2spec-2.2.1",
    module: "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible",
    file: "h2spec",
};

/// One case, and how it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// The suite and section, such as `http2/8.1.2.1`.
    pub section: String,
    /// What is sent.
    pub title: String,
    /// What was expected and what came; `None` when it passed or was left out.
    pub failure: Option<String>,
}

/// Sends every case, the strict ones too, to a server that speaks HTTP/2 without TLS. Requests are `GET path`.
///
/// # Errors
/// [`BackendError`] when h2spec cannot be had or gives no results.
pub fn h2spec(server: SocketAddr, path: &str) -> Result<Vec<Case>> {
    let folder = tempfile::tempdir()?;
    let report = folder.path().join("report.xml");
    let mut command = Command::new(PROGRAM.find_or_install()?);
    command.args(["--host", &server.ip().to_string(), "--port", &server.port().to_string()]);
    command.args(["--path", path, "--strict", "--junit-report"]).arg(&report);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    // Its exit code only says whether a case failed.
    command.status().map_err(|source| BackendError::Spawn { program: PROGRAM.file.to_owned(), source })?;
    let cases = cases(&fs::read_to_string(report)?)?;
    Ok(cases)
}

fn cases(report: &str) -> std::io::Result<Vec<Case>> {
    let document = roxmltree::Document::parse(report).map_err(std::io::Error::other)?;
    let case = |node: roxmltree::Node<'_, '_>| {
        let text = |name| node.attribute(name).unwrap_or_default().to_owned();
        let failure = node.children().find(|child| child.has_tag_name("error"));
        Case {
            section: text("package"),
            title: text("classname"),
            failure: failure.map(|failure| failure.text().unwrap_or_default().to_owned()),
        }
    };
    Ok(document.descendants().filter(|node| node.has_tag_name("testcase")).map(case).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_case_by_case() {
        let report = r#"<testsuites><testsuite>
            <testcase package="http2/3.5" classname="Sends a &quot;preface&quot;"></testcase>
            <testcase package="http2/6.1" classname="Sends DATA"><error>one
two</error></testcase>
        </testsuite></testsuites>"#;
        let cases = cases(report).unwrap();
        assert_eq!((cases[0].title.as_str(), &cases[0].failure), ("Sends a \"preface\"", &None));
        assert_eq!((cases[1].section.as_str(), cases[1].failure.as_deref()), ("http2/6.1", Some("one\ntwo")));
        assert!(super::cases("<broken").is_err());
    }
}
