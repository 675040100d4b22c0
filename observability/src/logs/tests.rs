//! Whole lines, as an operator reads them.

use std::io::Write;
use std::sync::{Arc, Mutex};

use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt;

use super::*;

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Buffer {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

fn logger(format: LogFormat, level: LogLevel) -> (Logger, Buffer) {
    let buffer = Buffer::default();
    let settings = LogSettings {
        level,
        format,
        output: LogOutput::Writer(Box::new(buffer.clone())),
        app_id: "orders".into(),
        host: "node-1".into(),
        version: "0.1.0".into(),
    };
    (Logger::new(settings).unwrap(), buffer)
}

/// The line behind its time stamp.
fn without_time(line: &str) -> &str {
    line.strip_prefix("time=\"").and_then(|rest| rest.split_once("\" ")).map_or(line, |(_, rest)| rest)
}

#[test]
fn a_text_line_has_dapr_s_shape() {
    let (logger, buffer) = logger(LogFormat::Text, LogLevel::Info);
    tracing::subscriber::with_default(Registry::default().with(logger.layer()), || {
        tracing::info!(target: "mecha_runtime::state", component = "cache", attempt = 2, "component loaded");
    });
    let line = buffer.take();
    assert!(line.starts_with("time=\"20"), "{line}");
    assert_eq!(
        without_time(&line),
        "level=info msg=\"component loaded\" app_id=orders instance=node-1 scope=dapr.runtime.state type=log \
         ver=0.1.0 component=cache attempt=2\n"
    );
}

#[test]
fn a_json_line_has_the_same_keys() {
    let (logger, buffer) = logger(LogFormat::Json, LogLevel::Info);
    tracing::subscriber::with_default(Registry::default().with(logger.layer()), || {
        tracing::warn!(scope = "dapr.runtime.http", size = 3_u64, ratio = 0.5, "a \"quoted\" <word>");
    });
    let line: serde_json::Value = serde_json::from_str(&buffer.take()).unwrap();
    let expected = [
        ("level", "warning"),
        ("msg", "a \"quoted\" <word>"),
        ("app_id", "orders"),
        ("instance", "node-1"),
        ("scope", "dapr.runtime.http"),
        ("type", "log"),
        ("ver", "0.1.0"),
    ];
    for (key, value) in expected {
        assert_eq!(line[key], value, "{key}");
    }
    assert_eq!((line["size"].as_u64(), line["ratio"].as_f64()), (Some(3), Some(0.5)));
}

#[test]
fn the_level_changes_while_running() {
    let (logger, buffer) = logger(LogFormat::Text, LogLevel::Warn);
    tracing::subscriber::with_default(Registry::default().with(logger.layer()), || {
        for level in [LogLevel::Warn, LogLevel::Debug, LogLevel::Error] {
            logger.set_level(level);
            tracing::debug!("debug line");
            tracing::warn!("warn line");
            tracing::error!("error line");
        }
    });
    let levels: Vec<String> = buffer
        .take()
        .lines()
        .map(|line| without_time(line).split(' ').next().unwrap().trim_start_matches("level=").to_owned())
        .collect();
    assert_eq!(levels, ["warning", "error", "debug", "warning", "error", "error"]);
}

#[test]
fn fatal_is_above_error() {
    let (logger, buffer) = logger(LogFormat::Text, LogLevel::Fatal);
    tracing::subscriber::with_default(Registry::default().with(logger.layer()), || {
        tracing::error!("only an error");
        tracing::error!(fatal = true, "Fatal error from runtime");
    });
    let line = buffer.take();
    assert!(without_time(&line).starts_with("level=fatal msg=\"Fatal error from runtime\""), "{line}");
    assert_eq!(line.lines().count(), 1);
}

#[test]
fn a_plugin_s_line_carries_its_origin_and_trace() {
    let (logger, buffer) = logger(LogFormat::Text, LogLevel::Info);
    let trace =
        TraceContext::parse_traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
    let mut record = LogRecord::new(LogLevel::Info, "redis::client", "connected");
    record.fields =
        vec![("component".into(), "cache".into()), ("plugin".into(), "libmecha_plugin_redis".into())];
    record.trace = trace;
    logger.write(&record);
    logger.write(&LogRecord { level: LogLevel::Debug, ..record });
    let line = buffer.take();
    assert_eq!(line.lines().count(), 1);
    assert!(line.contains(" scope=redis.client "), "{line}");
    assert!(line.ends_with(
        " component=cache plugin=libmecha_plugin_redis trace_id=0af7651916cd43dd8448eb211c80319c \
         span_id=b7ad6b7169203331\n"
    ));
}

#[test]
fn levels_are_dapr_s() {
    for (text, level) in [("fatal", LogLevel::Fatal), ("ERROR", LogLevel::Error), ("warn", LogLevel::Warn)] {
        assert_eq!(text.parse::<LogLevel>().unwrap(), level);
    }
    assert!("loud".parse::<LogLevel>().is_err());
}

#[test]
fn a_file_is_appended_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mecha.log");
    for message in ["first", "second"] {
        let settings = LogSettings::default().with_file(Some(path.clone()));
        Logger::new(settings).unwrap().write(&LogRecord::new(LogLevel::Info, "mecha", message));
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 2);
    let missing = LogSettings::default().with_file(Some(folder.path().join("no/such/folder")));
    assert!(matches!(Logger::new(missing), Err(Error::LogFile { .. })));
}
