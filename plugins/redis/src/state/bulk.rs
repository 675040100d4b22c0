//! Several keys in one write and one wait for their answers.

use mecha_plugin_api::state::{BulkItem, Consistency, DeleteRequest, GetRequest, SetRequest, StateItem};
use mecha_plugin_api::{CallContext, Error, ErrorKind, ROption, Result};
use redis::{Cmd, Pipeline, Value, cmd};

use super::script::Form;
use super::write::{Deletion, Save};
use super::{RedisState, item, needs_text, wait, waited};
use crate::client::Purpose;
use crate::error::Failure;

/// Reads all keys at once; those that hold plain strings take a second round.
pub(super) async fn get(
    store: &RedisState,
    context: &CallContext,
    requests: Vec<GetRequest>,
) -> Result<Vec<BulkItem>> {
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let commands = requests.iter().map(|request| item::read_command(&request.key));
    let answers = read(store, context, "PIPELINE HMGET", commands).await?;
    let mut results: Vec<_> = answers.into_iter().map(item::from_fields).collect();
    read_plain(store, context, &requests, &mut results).await?;
    let items = requests.into_iter().zip(results).map(|(request, result)| BulkItem {
        key: request.key,
        result: result.map(ROption::from).map_err(|failure| failure.into_error("")).into(),
    });
    Ok(items.collect())
}

async fn read_plain(
    store: &RedisState,
    context: &CallContext,
    requests: &[GetRequest],
    results: &mut [Result<Option<StateItem>, Failure>],
) -> Result<()> {
    let is_plain = |result: &Result<_, Failure>| {
        result.as_ref().is_err_and(|failure: &Failure| failure.code() == Some("WRONGTYPE"))
    };
    let plain: Vec<_> = (0..results.len()).filter(|at| is_plain(&results[*at])).collect();
    if plain.is_empty() {
        return Ok(());
    }
    let commands = plain.iter().map(|at| {
        let mut command = cmd("GET");
        command.arg(requests[*at].key.as_str());
        command
    });
    let answers = read(store, context, "PIPELINE GET", commands).await?;
    for (at, answer) in plain.into_iter().zip(answers) {
        results[at] = item::from_plain(answer);
    }
    Ok(())
}

async fn read(
    store: &RedisState,
    context: &CallContext,
    operation: &'static str,
    commands: impl Iterator<Item = Cmd>,
) -> Result<Vec<Value>> {
    let mut pipeline = Pipeline::new();
    for command in commands {
        pipeline.add_command(command);
    }
    let read = store.client.pipeline(context, Purpose::Read, operation, &pipeline).await;
    read.map_err(|failure| failure.into_error(""))
}

/// Saves every key that can be saved; the failures of the others come back as one.
pub(super) async fn set(store: &RedisState, context: &CallContext, requests: &[SetRequest]) -> Result<()> {
    let (mut saves, mut errors) = (Vec::with_capacity(requests.len()), Errors::default());
    for request in requests {
        match Save::new(request, store.ttl_in_seconds) {
            Ok(save) => saves.push(save),
            Err(error) => errors.add(error),
        }
    }
    let strong = requests.iter().any(|request| request.consistency == Consistency::STRONG);
    let replicas = if strong { store.client.replicas() } else { 0 };
    let commands = |at: usize, form| saves[at].command(&store.scripts.set, form);
    let failures = write(store, context, saves.len(), replicas, commands).await?;
    for (at, failure) in failures {
        errors.add(saves[at].error(failure));
    }
    errors.into_result()
}

/// Deletes every key that can be deleted; the failures of the others come back as one.
pub(super) async fn delete(
    store: &RedisState,
    context: &CallContext,
    requests: &[DeleteRequest],
) -> Result<()> {
    let deletions: Vec<_> = requests.iter().map(Deletion::new).collect();
    let commands = |at: usize, form| deletions[at].command(&store.scripts.delete, form);
    let failures = write(store, context, deletions.len(), 0, commands).await?;
    let mut errors = Errors::default();
    for (at, failure) in failures {
        errors.add(deletions[at].error(failure));
    }
    errors.into_result()
}

/// Sends `count` script calls and gives those that failed, each with its place. Calls that the server could not run by
/// hash are sent again by text.
async fn write(
    store: &RedisState,
    context: &CallContext,
    count: usize,
    replicas: u32,
    command: impl Fn(usize, Form) -> Cmd,
) -> Result<Vec<(usize, Failure)>> {
    let mut open: Vec<usize> = (0..count).collect();
    let mut failures = Vec::new();
    for (form, operation) in [(Form::ByHash, "PIPELINE EVALSHA"), (Form::ByText, "PIPELINE EVAL")] {
        if open.is_empty() {
            break;
        }
        let mut pipeline = Pipeline::with_capacity(open.len() + 1);
        for at in &open {
            pipeline.add_command(command(*at, form));
        }
        if replicas > 0 {
            pipeline.add_command(wait(replicas));
        }
        let purpose = if replicas > 0 { Purpose::ReplicatedWrite } else { Purpose::Write };
        let sent = store.client.pipeline(context, purpose, operation, &pipeline).await;
        let mut answers = sent.map_err(|failure| failure.into_error(""))?.into_iter();
        let mut again = Vec::new();
        for (at, answer) in open.into_iter().zip(answers.by_ref()) {
            match answer {
                Value::ServerError(error) if form == Form::ByHash && needs_text(Some(error.code())) => {
                    again.push(at);
                }
                Value::ServerError(error) => failures.push((at, Failure::Refused(error))),
                _ => {}
            }
        }
        waited(answers.next(), replicas)?;
        open = again;
    }
    Ok(failures)
}

/// Failures of single keys, joined: the kind is that of the first about an etag, else of the first.
#[derive(Default)]
struct Errors(Vec<Error>);

impl Errors {
    fn add(&mut self, error: Error) {
        self.0.push(error);
    }

    fn into_result(self) -> Result<()> {
        let is_etag =
            |error: &&Error| matches!(error.kind(), ErrorKind::ETAG_MISMATCH | ErrorKind::ETAG_INVALID);
        let Some(leading) = self.0.iter().find(is_etag).or(self.0.first()) else { return Ok(()) };
        let texts: Vec<_> = self.0.iter().map(Error::to_string).collect();
        let retriable = self.0.iter().all(Error::is_retriable);
        Err(Error::new(leading.kind(), texts.join("\n")).with_retriable(retriable))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_failure_gives_the_kind_of_the_whole() {
        let mut errors = Errors::default();
        errors.add(Error::unavailable("later"));
        errors.add(Error::new(ErrorKind::ETAG_MISMATCH, "changed"));
        let error = errors.into_result().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ETAG_MISMATCH);
        assert_eq!(error.message(), "later\nchanged");
        assert!(!error.is_retriable());
        assert!(Errors::default().into_result().is_ok());
    }
}
