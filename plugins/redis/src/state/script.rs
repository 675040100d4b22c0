//! The conditional writes, as Lua that the server runs in one step.
//!
//! A value is a hash with the fields `data`, `version` (a counter from 1, which is the etag) and, once a save with
//! first-write concurrency was made, `first-write`. The rules are Dapr's, so that both can share a server:
//! a save goes through when there is no version, when the etag is the version, or when no etag was given (`0`) and no
//! first-write save was made before; a deletion when there is no version, when the etag is the version or none was given.
//! A key that holds something else than a hash counts as absent and is replaced.

use redis::{Cmd, Script as Source};

/// `etag`: the version or `0`; `first`: `0` marks a first-write save; `ttl`: empty leaves the expiry as it is, zero or
/// less removes it.
const SET: &str = r#"
local key, etag, data, first, ttl = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local version = redis.pcall('HGET', key, 'version')
if type(version) == 'table' then
  redis.call('DEL', key)
  version = false
end
if version and version ~= '' and version ~= etag then
  if etag ~= '0' or redis.call('HEXISTS', key, 'first-write') == 1 then
    error('failed to set key ' .. key)
  end
end
redis.call('HSET', key, 'data', data)
if first == '0' then
  redis.call('HSET', key, 'first-write', 0)
end
local stored = redis.call('HINCRBY', key, 'version', 1)
if ttl ~= '' then
  if tonumber(ttl) > 0 then
    redis.call('EXPIRE', key, ttl)
  else
    redis.call('PERSIST', key)
  end
end
return stored
"#;

const DELETE: &str = r#"
local key, etag = KEYS[1], ARGV[1]
local version = redis.pcall('HGET', key, 'version')
if type(version) == 'string' and version ~= '' and version ~= etag and etag ~= '0' then
  error('failed to delete ' .. key)
end
return redis.call('DEL', key)
"#;

/// Steps of a transaction: one key each, and four arguments: `set` or `delete`, etag, data, ttl.
///
/// All conditions are looked at before anything is written, each against what the earlier steps will have left, because
/// a script that fails half-way keeps what it wrote. A transaction never marks a key first-write.
const TRANSACTION: &str = r#"
local seen = {}
for i, key in ipairs(KEYS) do
  local now = seen[key]
  if not now then
    local version = redis.pcall('HGET', key, 'version')
    now = { version = false, first = false }
    if type(version) == 'string' and version ~= '' then
      now.version = version
      now.first = redis.call('HEXISTS', key, 'first-write') == 1
    end
    seen[key] = now
  end
  local step, etag = ARGV[4 * i - 3], ARGV[4 * i - 2]
  local free = not now.version or now.version == etag
  if step == 'set' then
    if not free and (etag ~= '0' or now.first) then
      error('failed to set key ' .. key)
    end
    now.version = string.format('%.0f', (now.version or 0) + 1)
  else
    if not free and etag ~= '0' then
      error('failed to delete ' .. key)
    end
    now.version, now.first = false, false
  end
end
for i, key in ipairs(KEYS) do
  if ARGV[4 * i - 3] == 'set' then
    if type(redis.pcall('HGET', key, 'version')) == 'table' then
      redis.call('DEL', key)
    end
    redis.call('HSET', key, 'data', ARGV[4 * i - 1])
    redis.call('HINCRBY', key, 'version', 1)
    local ttl = ARGV[4 * i]
    if ttl ~= '' and tonumber(ttl) > 0 then
      redis.call('EXPIRE', key, ttl)
    elseif ttl ~= '' then
      redis.call('PERSIST', key)
    end
  else
    redis.call('DEL', key)
  end
end
return #KEYS
"#;

/// A script and the hash by which a server that has run it before knows it.
pub(crate) struct Script {
    text: &'static str,
    hash: String,
}

/// Whether a command names its script by hash or carries its text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// `EVALSHA`: short, but the server must know the script.
    ByHash,
    /// `EVAL`: always works, and makes the script known.
    ByText,
}

impl Form {
    /// The command's name.
    pub(crate) fn operation(self) -> &'static str {
        match self {
            Self::ByHash => "EVALSHA",
            Self::ByText => "EVAL",
        }
    }
}

impl Script {
    fn new(text: &'static str) -> Self {
        Self { hash: Source::new(text).get_hash().to_owned(), text }
    }

    /// Starts a command that runs the script on `keys` keys; the keys and the arguments follow.
    pub(crate) fn command(&self, form: Form, keys: usize, room: usize) -> Cmd {
        let body = match form {
            Form::ByHash => self.hash.as_str(),
            Form::ByText => self.text,
        };
        let mut command = Cmd::with_capacity(4 + 5 * keys, room + body.len() + 32);
        command.arg(form.operation()).arg(body).arg(keys);
        command
    }
}

/// The store's scripts.
pub(crate) struct Scripts {
    pub(crate) set: Script,
    pub(crate) delete: Script,
    pub(crate) transaction: Script,
}

impl Scripts {
    pub(crate) fn new() -> Self {
        Self { set: Script::new(SET), delete: Script::new(DELETE), transaction: Script::new(TRANSACTION) }
    }
}

/// Whether a script's error text is about the condition of a write, not about the server.
pub(crate) fn is_condition(text: &str) -> bool {
    text.contains("failed to set key ") || text.contains("failed to delete ")
}
