//! The state store `state.redis`: Dapr's layout of a key, read and written.

mod bulk;
mod item;
mod script;
mod write;

use mecha_plugin_api::state::{
    BulkItem, Consistency, DeleteRequest, GetRequest, SetRequest, StateFeatures, StateItem, StateOperation,
    StateStore,
};
use mecha_plugin_api::{CallContext, ComponentSpec, Metadata, Result};
use redis::{Cmd, Pipeline, Value, cmd};

use self::script::{Form, Script, Scripts};
use self::write::{Deletion, Save};
use crate::client::{Client, Purpose, REPLICATION_TIMEOUT};
use crate::error::Failure;
use crate::metadata::Settings;

/// An open `state.redis` component.
pub(crate) struct RedisState {
    client: Client,
    scripts: Scripts,
    ttl_in_seconds: Option<i64>,
}

impl RedisState {
    /// Opens the component: the server must be reachable and take the credentials.
    pub(crate) async fn open(spec: ComponentSpec) -> Result<Self> {
        let settings = Settings::read(&spec)?;
        let ttl_in_seconds = spec.text("ttlInSeconds").map(|_| spec.parsed("ttlInSeconds", 0)).transpose()?;
        let client = Client::open(settings).await?;
        Ok(Self { client, scripts: Scripts::new(), ttl_in_seconds })
    }

    /// Runs a script by its hash and, if the server does not know it or this user may not, by its text.
    async fn run(
        &self,
        context: &CallContext,
        script: &Script,
        build: impl Fn(&Script, Form) -> Cmd,
    ) -> Result<(), Failure> {
        let form = Form::ByHash;
        let sent = self.client.command(context, Purpose::Write, form.operation(), &build(script, form)).await;
        match sent {
            Err(failure) if needs_text(failure.code()) => {
                let form = Form::ByText;
                self.client.command(context, Purpose::Write, form.operation(), &build(script, form)).await?;
                Ok(())
            }
            other => other.map(drop),
        }
    }

    /// How many replicas a save of this consistency waits for.
    fn replicas_for(&self, consistency: Consistency) -> u32 {
        if consistency == Consistency::STRONG { self.client.replicas() } else { 0 }
    }

    /// A save followed by WAIT on the same connection, which is what WAIT is about.
    async fn save_replicated(&self, context: &CallContext, save: &Save<'_>, replicas: u32) -> Result<()> {
        for form in [Form::ByHash, Form::ByText] {
            let mut pipeline = Pipeline::with_capacity(2);
            pipeline.add_command(save.command(&self.scripts.set, form));
            pipeline.add_command(wait(replicas));
            let sent = self
                .client
                .pipeline(context, Purpose::ReplicatedWrite, "PIPELINE EVALSHA WAIT", &pipeline)
                .await;
            let mut answers = sent.map_err(|failure| save.error(failure))?.into_iter();
            match answers.next() {
                Some(Value::ServerError(error)) if form == Form::ByHash && needs_text(Some(error.code())) => {
                }
                Some(Value::ServerError(error)) => return Err(save.error(Failure::Refused(error))),
                _ => return waited(answers.next(), replicas),
            }
        }
        Ok(())
    }

    /// A key that holds a plain string, as Dapr's earliest versions wrote them: a value without an etag.
    async fn get_plain(&self, context: &CallContext, key: &str) -> Result<Option<StateItem>> {
        let read = self.client.command(context, Purpose::Read, "GET", cmd("GET").arg(key)).await;
        read.and_then(item::from_plain).map_err(|failure| failure.into_error(""))
    }
}

impl StateStore for RedisState {
    fn features(&self) -> StateFeatures {
        StateFeatures::ETAG
            .and(StateFeatures::TRANSACTIONAL)
            .and(StateFeatures::TTL)
            .and(StateFeatures::ACTOR)
    }

    async fn get(&self, context: &CallContext, request: GetRequest) -> Result<Option<StateItem>> {
        let command = item::read_command(&request.key);
        let read = self.client.command(context, Purpose::Read, item::READ, &command).await;
        match read.and_then(item::from_fields) {
            Err(failure) if failure.code() == Some("WRONGTYPE") => {
                self.get_plain(context, &request.key).await
            }
            other => other.map_err(|failure| failure.into_error("")),
        }
    }

    async fn set(&self, context: &CallContext, request: SetRequest) -> Result<()> {
        let save = Save::new(&request, self.ttl_in_seconds)?;
        match self.replicas_for(request.consistency) {
            0 => self
                .run(context, &self.scripts.set, |script, form| save.command(script, form))
                .await
                .map_err(|failure| save.error(failure)),
            replicas => self.save_replicated(context, &save, replicas).await,
        }
    }

    async fn delete(&self, context: &CallContext, request: DeleteRequest) -> Result<()> {
        let deletion = Deletion::new(&request);
        self.run(context, &self.scripts.delete, |script, form| deletion.command(script, form))
            .await
            .map_err(|failure| deletion.error(failure))
    }

    async fn bulk_get(
        &self,
        context: &CallContext,
        requests: Vec<GetRequest>,
        _parallelism: u32,
    ) -> Result<Vec<BulkItem>> {
        bulk::get(self, context, requests).await
    }

    async fn bulk_set(&self, context: &CallContext, requests: Vec<SetRequest>) -> Result<()> {
        bulk::set(self, context, &requests).await
    }

    async fn bulk_delete(&self, context: &CallContext, requests: Vec<DeleteRequest>) -> Result<()> {
        bulk::delete(self, context, &requests).await
    }

    async fn transact(
        &self,
        context: &CallContext,
        operations: Vec<StateOperation>,
        _metadata: Metadata,
    ) -> Result<()> {
        if operations.is_empty() {
            return Ok(());
        }
        let transaction = write::Transaction::new(&operations, self.ttl_in_seconds)?;
        self.run(context, &self.scripts.transaction, |script, form| transaction.command(script, form))
            .await
            .map_err(|failure| transaction.error(failure))
    }

    async fn ping(&self, context: &CallContext) -> Result<()> {
        self.client.ping(context).await
    }
}

fn wait(replicas: u32) -> Cmd {
    let mut command = cmd("WAIT");
    command.arg(replicas).arg(REPLICATION_TIMEOUT.as_millis().to_string());
    command
}

/// Fewer acknowledgements than asked for are no failure, as in Dapr; an error is one.
fn waited(answer: Option<Value>, replicas: u32) -> Result<()> {
    match answer {
        Some(Value::ServerError(error)) => {
            let context = format!("redis waiting for {replicas} replicas to acknowledge write");
            Err(Failure::Refused(error).into_error(&context))
        }
        _ => Ok(()),
    }
}

/// The server forgot the script, or this user may run scripts by text only.
fn needs_text(code: Option<&str>) -> bool {
    matches!(code, Some("NOSCRIPT" | "NOPERM"))
}
