//! `objects.aws.s3` and `bindings.aws.s3` against the AWS SDK: an object of 64 MiB as a stream, and whole.

use std::sync::Arc;

use anyhow::{Result, ensure};
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use mecha_backends::Versitygw;
use mecha_plugin_api::binding::{InvokeRequest, OutputBindingObject};
use mecha_plugin_api::object::{ByteRange, Conditions, GetRequest, ObjectStoreObject};
use mecha_plugin_api::{Buf, CallContext, Metadata};

use super::super::APP_ID;
use super::aws::{Access, InFull as _};
use super::{Load, Work};
use crate::benches::loaded::LoadedPlugin;
use crate::plan::Plan;
use crate::report::Table;
use crate::rounds::table;

const LIBRARY: &str = "aws-sdk-s3";
const WANTED: &str = "≥ 0.85";
const BUCKET: &str = "bench";
const KEY: &str = "object";
const MEBIBYTES: usize = 64;
const LENGTH: usize = MEBIBYTES * 1024 * 1024;

pub(super) async fn run(plan: &Plan) -> Result<Vec<Table>> {
    println!("    starting versitygw");
    let server = Versitygw::start()?;
    let access = Access {
        endpoint: server.endpoint(),
        region: "us-east-1",
        access_key: Versitygw::ACCESS_KEY,
        secret_key: Versitygw::SECRET_KEY,
    };
    let client = access.s3();
    store(&client).await?;
    let plugin = LoadedPlugin::load("aws")?;
    let mut metadata = access.metadata();
    metadata.extend([("bucket", BUCKET), ("forcePathStyle", "true")]);
    let context = CallContext::background(APP_ID);
    let store: ObjectStoreObject = plugin.open_with("objects.aws.s3", &metadata).await?;
    let binding: OutputBindingObject = plugin.open_with("bindings.aws.s3", &metadata).await?;
    let store = Arc::new(Stream { store, context: context.clone() });
    let binding = Arc::new(Whole { binding, context });
    let direct = Arc::new(DirectStream(client.clone()));
    let load = |what, tasks| Load { what, wanted: WANTED, tasks };
    let mut rows = Vec::new();
    for (what, tasks) in [("as a stream, 1 task", 1), ("as a stream, 8 tasks", 8)] {
        rows.extend(load(what, tasks).compare(plan, store.clone(), (LIBRARY, direct.clone())).await?);
    }
    let direct = Arc::new(DirectWhole(client));
    rows.extend(load("whole (binding), 1 task", 1).compare(plan, binding.clone(), (LIBRARY, direct)).await?);
    drop((store, binding));
    plugin.retire().await;
    let mut table = table("S3 at the plugin boundary: get of 64 MiB", &rows);
    table.note("MiB a second, from versitygw over plain HTTP; the stream's pieces are counted and dropped");
    Ok(vec![table])
}

async fn store(client: &Client) -> Result<()> {
    client.create_bucket().bucket(BUCKET).send().await.in_full()?;
    let body = ByteStream::from(Bytes::from(vec![b'x'; LENGTH]));
    client.put_object().bucket(BUCKET).key(KEY).body(body).send().await.in_full()?;
    Ok(())
}

/// What a get counts for.
fn whole(length: usize) -> Result<u64> {
    ensure!(length == LENGTH, "expected {LENGTH} bytes, got {length}");
    Ok(MEBIBYTES as u64)
}

struct Stream {
    store: ObjectStoreObject,
    context: CallContext,
}

impl Work for Stream {
    async fn once(&self, _task: usize) -> Result<u64> {
        let request = GetRequest {
            key: KEY.into(),
            range: ByteRange::default(),
            conditions: Conditions::default(),
            metadata: Metadata::new(),
        };
        let opened = self.store.get(self.context.clone(), request).await.into_result()?;
        let mut length = 0;
        while let Some(piece) = opened.body.next(self.context.clone()).await.into_result()?.into_option() {
            length += piece.len();
        }
        whole(length)
    }
}

struct DirectStream(Client);

impl Work for DirectStream {
    async fn once(&self, _task: usize) -> Result<u64> {
        let mut body = self.0.get_object().bucket(BUCKET).key(KEY).send().await.in_full()?.body;
        let mut length = 0;
        while let Some(piece) = body.next().await {
            length += piece?.len();
        }
        whole(length)
    }
}

struct Whole {
    binding: OutputBindingObject,
    context: CallContext,
}

impl Work for Whole {
    async fn once(&self, _task: usize) -> Result<u64> {
        let request = InvokeRequest {
            operation: "get".into(),
            data: Buf::default(),
            metadata: [("key", KEY)].into_iter().collect(),
        };
        let answer = self.binding.invoke(self.context.clone(), request).await.into_result()?;
        whole(answer.data.len())
    }
}

struct DirectWhole(Client);

impl Work for DirectWhole {
    async fn once(&self, _task: usize) -> Result<u64> {
        let answer = self.0.get_object().bucket(BUCKET).key(KEY).send().await.in_full()?;
        whole(answer.body.collect().await?.into_bytes().len())
    }
}
