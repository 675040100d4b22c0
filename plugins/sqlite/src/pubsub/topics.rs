//! The SQL: messages, the groups that read them, and what each group still has to get.
//!
//! A message is one row, and one more for each group that still has to get it. Triggers make those rows and remove a message
//! when its last one goes, so that an `INSERT` by any SQLite client publishes.

use mecha_plugin_api::{Error, Metadata, Result};
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};

use crate::error::failed;

/// Milliseconds since 1970: the clock that all processes on the file share.
pub(crate) type UnixMillis = i64;
pub(crate) type GroupId = i64;
pub(crate) type MessageId = i64;

/// Who has a message out: a random number for each source.
pub(crate) type Lease = i64;

/// A message to publish.
pub(crate) struct NewMessage {
    pub(crate) topic: String,
    pub(crate) data: mecha_plugin_api::Buf,
    pub(crate) content_type: String,
    /// The metadata as a JSON object.
    pub(crate) metadata: String,
    pub(crate) visible_at: UnixMillis,
    pub(crate) expires_at: Option<UnixMillis>,
}

/// A message that a source has out.
#[derive(Debug)]
pub(crate) struct Claimed {
    pub(crate) id: MessageId,
    pub(crate) data: Vec<u8>,
    pub(crate) content_type: String,
    pub(crate) metadata: Metadata,
    /// How often it was delivered before.
    pub(crate) redelivered: u32,
}

/// What a claim found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) messages: Vec<Claimed>,
    /// When there may be another one, if nothing happens before.
    pub(crate) next_at: Option<UnixMillis>,
    /// How many were dead.
    pub(crate) died: usize,
}

/// What a source asks for.
#[derive(Clone, Copy)]
pub(crate) struct Claim {
    pub(crate) group: GroupId,
    pub(crate) lease: Lease,
    pub(crate) max: u32,
    pub(crate) now: UnixMillis,
    pub(crate) leased_until: UnixMillis,
    pub(crate) max_deliveries: Option<u32>,
    pub(crate) is_strict: bool,
}

/// The statements for one set of tables.
pub(crate) struct Topics {
    create: String,
    publish: String,
    add_group: String,
    find_group: String,
    take_unread: String,
    pick: String,
    pick_strictly: String,
    lend: String,
    next_at: String,
    acknowledge: String,
    retry: String,
    bury: String,
    extend: String,
    give_back: String,
    backlog: String,
    topics_with_messages: String,
    delete_expired: [String; 2],
    delete_old: [String; 2],
}

impl Topics {
    pub(crate) fn new(prefix: &str) -> Self {
        let (messages, groups) = (format!("{prefix}_messages"), format!("{prefix}_groups"));
        let (deliveries, dead) = (format!("{prefix}_deliveries"), format!("{prefix}_dead"));
        let columns = "d.message_id, d.deliveries, m.data, m.content_type, m.metadata, m.expires_at";
        let joined = format!("{deliveries} d JOIN {messages} m ON m.id = d.message_id");
        let unread = format!("NOT EXISTS (SELECT 1 FROM {deliveries} d WHERE d.message_id = {messages}.id)");
        Self {
            create: schema(prefix),
            publish: format!(
                "INSERT INTO {messages} (topic, data, content_type, metadata, published_at, visible_at, expires_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"
            ),
            add_group: format!("INSERT OR IGNORE INTO {groups} (topic, name) VALUES (?1, ?2)"),
            find_group: format!("SELECT id FROM {groups} WHERE topic = ?1 AND name = ?2"),
            take_unread: format!(
                "INSERT INTO {deliveries} (group_id, message_id, visible_at)
                 SELECT ?1, id, visible_at FROM {messages} WHERE topic = ?2 AND {unread}"
            ),
            pick: format!(
                "SELECT {columns} FROM {joined} WHERE d.group_id = ?1 AND d.visible_at <= ?2
                 ORDER BY d.message_id LIMIT ?3"
            ),
            // Nothing behind a message that waits for its time or that another consumer has out.
            pick_strictly: format!(
                "SELECT {columns} FROM {joined} WHERE d.group_id = ?1 AND d.visible_at <= ?2
                    AND d.message_id < coalesce((SELECT min(b.message_id) FROM {deliveries} b
                        WHERE b.group_id = ?1 AND b.visible_at > ?2 AND b.lease IS NOT ?4), 1 << 62)
                 ORDER BY d.message_id LIMIT ?3"
            ),
            lend: format!(
                "UPDATE {deliveries} SET visible_at = ?3, lease = ?4, deliveries = deliveries + 1
                 WHERE group_id = ?1 AND message_id = ?2"
            ),
            next_at: format!(
                "SELECT min(visible_at) FROM {deliveries}
                 WHERE group_id = ?1 AND visible_at > ?2 AND lease IS NOT ?3"
            ),
            acknowledge: format!("DELETE FROM {deliveries} WHERE group_id = ?1 AND message_id = ?2"),
            retry: format!(
                "UPDATE {deliveries} SET visible_at = ?4, lease = NULL
                 WHERE group_id = ?1 AND message_id = ?2 AND lease = ?3"
            ),
            bury: format!(
                "INSERT INTO {dead} (topic, group_name, data, content_type, metadata, deliveries, died_at)
                 SELECT m.topic, g.name, m.data, m.content_type, m.metadata, d.deliveries, ?3
                 FROM {joined} JOIN {groups} g ON g.id = d.group_id
                 WHERE d.group_id = ?1 AND d.message_id = ?2"
            ),
            extend: format!(
                "UPDATE {deliveries} SET visible_at = ?4
                 WHERE group_id = ?1 AND message_id = ?2 AND lease = ?3"
            ),
            give_back: format!(
                "UPDATE {deliveries} SET visible_at = 0, lease = NULL, deliveries = deliveries - 1
                 WHERE group_id = ?1 AND message_id = ?2 AND lease = ?3"
            ),
            backlog: format!(
                "SELECT count(*) FROM {deliveries} d JOIN {groups} g ON g.id = d.group_id
                 WHERE g.topic = ?1 AND g.name = ?2 AND (d.lease IS NULL OR d.visible_at <= ?3)"
            ),
            topics_with_messages: format!(
                "SELECT DISTINCT topic FROM {groups} g WHERE EXISTS
                    (SELECT 1 FROM {deliveries} d WHERE d.group_id = g.id AND d.lease IS NULL)"
            ),
            delete_expired: [
                format!(
                    "DELETE FROM {deliveries} WHERE message_id IN
                        (SELECT id FROM {messages} WHERE expires_at <= ?1)
                        AND (lease IS NULL OR visible_at <= ?1)"
                ),
                format!("DELETE FROM {messages} WHERE expires_at <= ?1 AND {unread}"),
            ],
            delete_old: [
                format!("DELETE FROM {messages} WHERE published_at < ?1 AND {unread}"),
                format!("DELETE FROM {dead} WHERE died_at < ?1"),
            ],
        }
    }

    /// Makes the tables that are missing. Exclusive, because other processes may start on the same file now.
    pub(crate) fn create(&self, connection: &mut Connection) -> Result<()> {
        let behavior = TransactionBehavior::Exclusive;
        let transaction = connection.transaction_with_behavior(behavior).map_err(|error| failed(&error))?;
        transaction.execute_batch(&self.create).map_err(|error| failed(&error))?;
        transaction.commit().map_err(|error| failed(&error))
    }

    /// One statement: the triggers belong to it.
    pub(crate) fn publish(
        &self,
        connection: &Connection,
        message: &NewMessage,
        now: UnixMillis,
    ) -> Result<()> {
        let values = params![
            message.topic,
            &*message.data,
            message.content_type,
            message.metadata,
            now,
            message.visible_at,
            message.expires_at
        ];
        run(connection, &self.publish, values).map(drop)
    }

    /// The group, made if it is not there. The first group of a topic gets what was published before it.
    pub(crate) fn group(&self, connection: &Connection, topic: &str, name: &str) -> Result<GroupId> {
        let is_new = run(connection, &self.add_group, params![topic, name])? > 0;
        let id = connection
            .prepare_cached(&self.find_group)
            .and_then(|mut statement| statement.query_row(params![topic, name], |row| row.get(0)))
            .map_err(|error| failed(&error))?;
        if is_new {
            run(connection, &self.take_unread, params![id, topic])?;
        }
        Ok(id)
    }

    /// Lends messages to a source, in the order of publishing.
    pub(crate) fn claim(&self, connection: &Connection, claim: Claim) -> Result<Found> {
        let mut found = Found::default();
        let picked = self.pick(connection, claim)?;
        let is_all = picked.len() < claim.max as usize;
        for (message, expires_at) in picked {
            if expires_at.is_some_and(|at| at <= claim.now) {
                run(connection, &self.acknowledge, params![claim.group, message.id])?;
            } else if claim.max_deliveries.is_some_and(|most| message.redelivered >= most) {
                self.bury(connection, claim.group, message.id, claim.now)?;
                found.died += 1;
            } else {
                let lent = params![claim.group, message.id, claim.leased_until, claim.lease];
                run(connection, &self.lend, lent)?;
                found.messages.push(message);
            }
        }
        if is_all {
            found.next_at = connection
                .prepare_cached(&self.next_at)
                .and_then(|mut statement| {
                    statement.query_row(params![claim.group, claim.now, claim.lease], |row| row.get(0))
                })
                .map_err(|error| failed(&error))?;
        } else if found.messages.is_empty() {
            // All of them had expired or died: there may be more at once.
            found.next_at = Some(claim.now);
        }
        Ok(found)
    }

    fn pick(&self, connection: &Connection, claim: Claim) -> Result<Vec<(Claimed, Option<UnixMillis>)>> {
        let picked = if claim.is_strict {
            let values = params![claim.group, claim.now, claim.max, claim.lease];
            rows(connection, &self.pick_strictly, values)
        } else {
            rows(connection, &self.pick, params![claim.group, claim.now, claim.max])
        };
        picked.map_err(|error| failed(&error))
    }

    /// The group has it: gone for the group, and altogether when it was the last. Whoever holds it now, it was handled.
    pub(crate) fn acknowledge(&self, connection: &Connection, group: GroupId, id: MessageId) -> Result<()> {
        run(connection, &self.acknowledge, params![group, id]).map(drop)
    }

    /// To be delivered again, unless somebody else has it out by now.
    pub(crate) fn retry(
        &self,
        connection: &Connection,
        (group, lease): (GroupId, Lease),
        id: MessageId,
        at: UnixMillis,
    ) -> Result<()> {
        run(connection, &self.retry, params![group, id, lease, at]).map(drop)
    }

    /// Moves a message to the dead ones.
    pub(crate) fn bury(
        &self,
        connection: &Connection,
        group: GroupId,
        id: MessageId,
        now: UnixMillis,
    ) -> Result<()> {
        run(connection, &self.bury, params![group, id, now])?;
        self.acknowledge(connection, group, id)
    }

    /// Says that the source still works on a message.
    pub(crate) fn extend(
        &self,
        connection: &Connection,
        (group, lease): (GroupId, Lease),
        id: MessageId,
        until: UnixMillis,
    ) -> Result<()> {
        run(connection, &self.extend, params![group, id, lease, until]).map(drop)
    }

    /// As if it had not been delivered.
    pub(crate) fn give_back(
        &self,
        connection: &Connection,
        (group, lease): (GroupId, Lease),
        id: MessageId,
    ) -> Result<()> {
        run(connection, &self.give_back, params![group, id, lease]).map(drop)
    }

    /// How many messages wait for a group.
    pub(crate) fn backlog(
        &self,
        connection: &Connection,
        topic: &str,
        group: &str,
        now: UnixMillis,
    ) -> Result<u64> {
        let count = connection
            .prepare_cached(&self.backlog)
            .and_then(|mut statement| statement.query_row(params![topic, group, now], |row| row.get(0)));
        count.map(|count: i64| u64::try_from(count).unwrap_or_default()).map_err(|error| failed(&error))
    }

    /// The topics of which some group has messages that nobody has out.
    pub(crate) fn topics_with_messages(&self, connection: &Connection) -> Result<Vec<String>> {
        let topics = connection.prepare_cached(&self.topics_with_messages).and_then(|mut statement| {
            statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()
        });
        topics.map_err(|error| failed(&error))
    }

    /// Deletes what has expired and is not out.
    pub(crate) fn delete_expired(&self, connection: &Connection, now: UnixMillis) -> Result<()> {
        self.delete_expired.iter().try_for_each(|sql| run(connection, sql, params![now]).map(drop))
    }

    /// Deletes dead messages, and those that no group ever read, from before a time.
    pub(crate) fn delete_old(&self, connection: &Connection, before: UnixMillis) -> Result<()> {
        self.delete_old.iter().try_for_each(|sql| run(connection, sql, params![before]).map(drop))
    }
}

fn schema(prefix: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {prefix}_messages (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            topic TEXT NOT NULL,
            content_type TEXT NOT NULL DEFAULT '',
            metadata TEXT NOT NULL DEFAULT '{{}}',
            published_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
            visible_at INTEGER NOT NULL DEFAULT 0,
            expires_at INTEGER,
            data BLOB NOT NULL
        );
        CREATE INDEX IF NOT EXISTS {prefix}_messages_expiry ON {prefix}_messages (expires_at)
            WHERE expires_at IS NOT NULL;
        CREATE TABLE IF NOT EXISTS {prefix}_groups (
            id INTEGER PRIMARY KEY,
            topic TEXT NOT NULL,
            name TEXT NOT NULL,
            UNIQUE (topic, name)
        );
        CREATE TABLE IF NOT EXISTS {prefix}_deliveries (
            group_id INTEGER NOT NULL,
            message_id INTEGER NOT NULL,
            visible_at INTEGER NOT NULL DEFAULT 0,
            lease INTEGER,
            deliveries INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (group_id, message_id)
        ) WITHOUT ROWID;
        CREATE INDEX IF NOT EXISTS {prefix}_deliveries_message ON {prefix}_deliveries (message_id);
        CREATE TABLE IF NOT EXISTS {prefix}_dead (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            topic TEXT NOT NULL,
            group_name TEXT NOT NULL,
            content_type TEXT NOT NULL,
            metadata TEXT NOT NULL,
            deliveries INTEGER NOT NULL,
            died_at INTEGER NOT NULL,
            data BLOB NOT NULL
        );
        CREATE TRIGGER IF NOT EXISTS {prefix}_fan_out AFTER INSERT ON {prefix}_messages BEGIN
            INSERT INTO {prefix}_deliveries (group_id, message_id, visible_at)
                SELECT id, NEW.id, NEW.visible_at FROM {prefix}_groups WHERE topic = NEW.topic;
        END;
        CREATE TRIGGER IF NOT EXISTS {prefix}_delivered AFTER DELETE ON {prefix}_deliveries BEGIN
            DELETE FROM {prefix}_messages WHERE id = OLD.message_id AND NOT EXISTS
                (SELECT 1 FROM {prefix}_deliveries WHERE message_id = OLD.message_id);
        END;
        CREATE TRIGGER IF NOT EXISTS {prefix}_group_gone AFTER DELETE ON {prefix}_groups BEGIN
            DELETE FROM {prefix}_deliveries WHERE group_id = OLD.id;
        END;"
    )
}

fn run(connection: &Connection, sql: &str, values: impl rusqlite::Params) -> Result<usize> {
    let changed = connection.prepare_cached(sql).and_then(|mut statement| statement.execute(values));
    changed.map_err(|error| failed(&error))
}

fn rows(
    connection: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
) -> rusqlite::Result<Vec<(Claimed, Option<UnixMillis>)>> {
    connection.prepare_cached(sql)?.query_map(values, claimed)?.collect()
}

fn claimed(row: &Row<'_>) -> rusqlite::Result<(Claimed, Option<UnixMillis>)> {
    // Another client may have put text there.
    let data = row.get_ref(2)?.as_bytes().map(<[u8]>::to_vec)?;
    let metadata: String = row.get(4)?;
    let message = Claimed {
        id: row.get(0)?,
        redelivered: row.get(1)?,
        data,
        content_type: row.get(3)?,
        metadata: metadata_of(&metadata),
    };
    Ok((message, row.get(5)?))
}

/// Metadata as it is stored: a JSON object of strings.
pub(crate) fn metadata_text(metadata: &Metadata) -> Result<String> {
    let pairs: serde_json::Map<String, serde_json::Value> =
        metadata.iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
    serde_json::to_string(&pairs).map_err(|error| Error::internal(format!("metadata: {error}")))
}

/// What another client may have put there instead is left out.
fn metadata_of(text: &str) -> Metadata {
    let pairs: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).unwrap_or_default();
    let strings = pairs.into_iter().filter_map(|(key, value)| match value {
        serde_json::Value::String(value) => Some((key, value)),
        _ => None,
    });
    strings.collect()
}

/// Keeps a change counter of what other connections did to the file.
pub(crate) fn data_version(connection: &Connection) -> Result<i64> {
    let version = connection.query_row("PRAGMA data_version", [], |row| row.get(0)).optional();
    version.map(Option::unwrap_or_default).map_err(|error| failed(&error))
}
