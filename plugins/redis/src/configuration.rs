//! The configuration store `configuration.redis`: an item is a plain string key that holds `value||version`, as in Dapr.
//!
//! A subscription (`configuration/watch.rs`) listens to keyspace events and reads again what they name; the host pulls the
//! changes from `configuration/changes.rs`.

mod changes;
mod watch;

use mecha_plugin_api::configuration::{ConfigurationItem, ConfigurationStore};
use mecha_plugin_api::source::Subscription;
use mecha_plugin_api::{CallContext, ComponentSpec, Metadata, Result};
use redis::{Pipeline, Value, cmd};

pub(crate) use self::changes::ChangeSource;
use crate::client::{Client, Purpose, Target};
use crate::error::Failure;
use crate::metadata::Settings;

/// Keys that are read in one write, or looked for in one step of a scan.
const PAGE: usize = 500;
const SEPARATOR: &str = "||";

/// An open `configuration.redis` component.
pub(crate) struct RedisConfiguration {
    client: Client,
    app_id: String,
}

impl RedisConfiguration {
    /// Opens the component: the server must be reachable and take the credentials.
    pub(crate) async fn open(spec: ComponentSpec) -> Result<Self> {
        let client = Client::open(Settings::read(&spec)?).await?;
        Ok(Self { client, app_id: spec.app_id.into() })
    }

    /// Opens a subscription; every change after this returned is seen.
    pub(crate) async fn changes(&self, keys: Vec<String>) -> Result<ChangeSource> {
        let context = CallContext::background(self.app_id.as_str());
        ChangeSource::start(self.client.clone(), context, keys).await
    }
}

impl ConfigurationStore for RedisConfiguration {
    async fn get(
        &self,
        context: &CallContext,
        keys: Vec<String>,
        _metadata: Metadata,
    ) -> Result<Vec<ConfigurationItem>> {
        let texts = read(&self.client, context, keys).await.map_err(|failure| failure.into_error(""))?;
        Ok(texts.into_iter().filter_map(|(key, text)| item(key, &text?)).collect())
    }

    async fn subscribe(
        &self,
        _context: &CallContext,
        keys: Vec<String>,
        _metadata: Metadata,
    ) -> Result<Subscription> {
        Ok(Subscription::new(self.changes(keys).await?))
    }

    async fn ping(&self, context: &CallContext) -> Result<()> {
        self.client.ping(context).await
    }
}

/// What lies under the keys, or under all when there are none. A key that is absent or holds no string has no text.
async fn read(
    client: &Client,
    context: &CallContext,
    mut keys: Vec<String>,
) -> Result<Vec<(String, Option<String>)>, Failure> {
    if keys.is_empty() {
        keys = all_keys(client, context).await?;
    }
    let mut texts = Vec::with_capacity(keys.len());
    for page in keys.chunks(PAGE) {
        let mut pipeline = Pipeline::with_capacity(page.len());
        for key in page {
            pipeline.cmd("GET").arg(key);
        }
        let answers = client.pipeline(context, Purpose::Read, "PIPELINE GET", &pipeline).await?;
        for (key, answer) in page.iter().zip(answers) {
            texts.push((key.clone(), text(answer)?));
        }
    }
    Ok(texts)
}

/// Every key of every server, found in steps: listing them in one go would hold up the server.
async fn all_keys(client: &Client, context: &CallContext) -> Result<Vec<String>, Failure> {
    let mut keys = Vec::new();
    for target in client.targets() {
        scan(client, context, &target, &mut keys).await?;
    }
    // A scan may name a key twice.
    keys.sort_unstable();
    keys.dedup();
    Ok(keys)
}

async fn scan(
    client: &Client,
    context: &CallContext,
    target: &Target,
    keys: &mut Vec<String>,
) -> Result<(), Failure> {
    let mut cursor = "0".to_owned();
    loop {
        let mut command = cmd("SCAN");
        command.arg(&cursor).arg("COUNT").arg(PAGE);
        let answer = client.command_at(context, target, "SCAN", &command).await?;
        let (next, page): (String, Vec<Vec<u8>>) = redis::from_redis_value(answer)
            .map_err(|_| Failure::Unexpected("redis answered no page of keys"))?;
        // A key that is no text cannot be asked for either.
        keys.extend(page.into_iter().filter_map(|key| String::from_utf8(key).ok()));
        if next == "0" {
            return Ok(());
        }
        cursor = next;
    }
}

fn text(answer: Value) -> Result<Option<String>, Failure> {
    match answer {
        Value::BulkString(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Value::Nil => Ok(None),
        Value::ServerError(error) if error.code() == "WRONGTYPE" => Ok(None),
        Value::ServerError(error) => Err(Failure::Refused(error)),
        _ => Err(Failure::Unexpected("redis answered no value to a read")),
    }
}

/// The item that a text holds; an empty value counts as no item, as in Dapr.
fn item(key: String, text: &str) -> Option<ConfigurationItem> {
    let mut parts = text.split(SEPARATOR);
    let value = parts.next().filter(|value| !value.is_empty())?;
    let version = parts.next().unwrap_or_default();
    Some(ConfigurationItem {
        key: key.into(),
        value: value.into(),
        version: version.into(),
        metadata: Metadata::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_a_value_and_perhaps_a_version() {
        let read = |text| item("k".into(), text).map(|item| (item.value.into(), item.version.into()));
        let pair = |value: &str, version: &str| Some((value.to_owned(), version.to_owned()));
        assert_eq!(read("v"), pair("v", ""));
        assert_eq!(read("v||1.0"), pair("v", "1.0"));
        assert_eq!(read("v||1||rest"), pair("v", "1"));
        assert_eq!(read("v||"), pair("v", ""));
        assert_eq!(read(""), None);
        assert_eq!(read("||1"), None);
    }
}
