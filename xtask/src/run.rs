//! `cargo xtask run`: the gateway on the embedded default.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::build;
use crate::shell::{Shell, StepFailed, exit_code};
use crate::workspace::{Profile, Workspace};

const HTTP_PORT_FLAG: &str = "--dapr-http-port";
const DEFAULT_HTTP_PORT: u16 = 3500;
const READY_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// Builds everything, starts the gateway and says what to try first; ends when the gateway ends.
pub(crate) fn run(shell: &Shell, workspace: &Workspace, profile: Profile, flags: &[String]) -> Result<()> {
    build::product(shell, workspace, profile)?;
    let mut command = Command::new(workspace.profile_dir(profile).join("mecha"));
    command.args(["--app-id", "mecha", "--config-dir", "configs", "--resources-path", "configs/components"]);
    command.args(flags);
    println!("==> mecha (Ctrl-C ends it)");
    let mut child = shell.spawn(&mut command)?;
    let port = http_port(flags);
    // Detached: it gives up by itself, and it must not keep the gateway's end from being noticed.
    thread::spawn(move || greet_when_ready(port));
    let status = shell.wait(&mut child)?;
    if !status.success() {
        bail!(StepFailed::new("mecha", exit_code(status)));
    }
    Ok(())
}

/// The port that the last such flag names.
fn http_port(flags: &[String]) -> u16 {
    let mut port = DEFAULT_HTTP_PORT;
    for (index, flag) in flags.iter().enumerate() {
        let value = match flag.split_once('=') {
            Some((HTTP_PORT_FLAG, value)) => Some(value),
            None if flag == HTTP_PORT_FLAG => flags.get(index + 1).map(String::as_str),
            _ => None,
        };
        port = value.and_then(|value| value.parse().ok()).unwrap_or(port);
    }
    port
}

fn greet_when_ready(port: u16) {
    let began = Instant::now();
    while began.elapsed() < READY_WITHIN {
        if get(port, "/v1.0/healthz").is_ok_and(|answer| answer.status == 204) {
            println!("{}", greeting(port, state_store(port).as_deref()));
            return;
        }
        thread::sleep(POLL);
    }
}

fn greeting(port: u16, store: Option<&str>) -> String {
    let base = format!("http://localhost:{port}/v1.0");
    let Some(store) = store else {
        return format!("\nready; try first:\n  curl {base}/metadata\n");
    };
    format!(
        "\nready; try first:\n  curl -X POST {base}/state/{store} -H 'content-type: application/json' \
         -d '[{{\"key\":\"hello\",\"value\":\"world\"}}]'\n  curl {base}/state/{store}/hello\n"
    )
}

/// Name of a state store in service.
fn state_store(port: u16) -> Option<String> {
    let answer = get(port, "/v1.0/metadata").ok()?;
    state_store_in(&answer.body)
}

fn state_store_in(metadata: &str) -> Option<String> {
    let metadata: Value = serde_json::from_str(metadata).ok()?;
    let is_store =
        |component: &&Value| component["type"].as_str().is_some_and(|kind| kind.starts_with("state."));
    let component = metadata["components"].as_array()?.iter().find(is_store)?;
    component["name"].as_str().map(str::to_owned)
}

struct Answer {
    status: u16,
    body: String,
}

/// HTTP/1.0, so that the body is neither chunked nor kept open: enough for two requests to our own process.
fn get(port: u16, path: &str) -> Result<Answer> {
    let mut stream =
        TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), ANSWER_WITHIN)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").context("the answer has no end of its headers")?;
    let status =
        head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("the answer has no status")?;
    Ok(Answer { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn flags(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_port_is_taken_from_the_flags() {
        assert_eq!(http_port(&flags("--log-level debug")), 3500);
        assert_eq!(http_port(&flags("--dapr-http-port 3600")), 3600);
        assert_eq!(http_port(&flags("--dapr-http-port=3600 --dapr-http-port=3700 --x=1")), 3700);
    }

    #[test]
    fn the_greeting_names_a_store_that_is_there() {
        let metadata = r#"{"components":[{"name":"s","type":"secretstores.local.file"},{"name":"orders","type":"state.sqlite"}]}"#;
        let store = state_store_in(metadata);
        assert_eq!(store.as_deref(), Some("orders"));
        assert!(
            greeting(3500, store.as_deref()).contains("curl http://localhost:3500/v1.0/state/orders/hello")
        );
        assert_eq!(state_store_in(r#"{"components":[]}"#), None);
        assert!(greeting(3500, None).contains("/v1.0/metadata"));
    }

    #[test]
    fn an_answer_is_read_to_its_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 256];
            let read = stream.read(&mut request).unwrap();
            stream.write_all(b"HTTP/1.0 204 No Content\r\nx: y\r\n\r\nbody").unwrap();
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        let answer = get(port, "/v1.0/healthz").unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (204, "body"));
        assert!(server.join().unwrap().starts_with("GET /v1.0/healthz HTTP/1.0\r\n"));
    }
}
