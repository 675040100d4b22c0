//! Writing: an object in parts, some of them under way while the next one fills; a small one in a single request.

use std::time::Duration;

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, StorageClass};
use bytes::{Bytes, BytesMut};
use mecha_plugin_api::object::{Conditions, ObjectHead, PutRequest, Write};
use mecha_plugin_api::{Buf, CallContext, Error, Metadata, Result};
use tokio::task::{JoinHandle, JoinSet};
use tracing::Instrument as _;

use super::failure::{Refusal, about_key, send};
use super::{Bucket, WriteConditions, bare, details, object_metadata};
use crate::s3::without_limit;
use crate::span;

/// How long an abort waits for parts that are under way.
const SETTLING: Duration = Duration::from_secs(20);
const BINARY: &str = "application/octet-stream";

/// An object on its way to S3. It holds at most the part that fills and those that are under way.
pub(super) struct Uploading {
    bucket: Bucket,
    key: String,
    said: Option<u64>,
    content_type: String,
    metadata: Metadata,
    conditions: Conditions,
    checked_there: WriteConditions,
    filling: BytesMut,
    size: u64,
    /// The multipart upload, begun with the second part: a task, so that a call that is given up does not lose its id.
    upload: Option<Begun>,
    context: CallContext,
}

struct Begun {
    starting: Option<JoinHandle<Result<String, Refusal>>>,
    id: Option<String>,
    under_way: JoinSet<Result<Sent, Refusal>>,
    /// The memory of parts that are there, for the next ones: allocators keep large pieces for themselves otherwise.
    spare: Vec<BytesMut>,
    done: Vec<CompletedPart>,
    count: i32,
}

impl Uploading {
    pub(super) fn new(
        bucket: Bucket,
        context: &CallContext,
        request: PutRequest,
        checked_there: WriteConditions,
    ) -> Self {
        let content_type = request.content_type;
        Self {
            bucket,
            key: request.key.into(),
            said: request.size.into(),
            content_type: if content_type.is_empty() { BINARY.to_owned() } else { content_type.into() },
            metadata: request.object_metadata,
            conditions: request.conditions,
            checked_there,
            filling: BytesMut::new(),
            size: 0,
            upload: None,
            context: context.clone(),
        }
    }

    fn part_size(&self) -> usize {
        let before = self.upload.as_ref().map_or(0, |begun| u64::from(begun.count.unsigned_abs()));
        self.bucket.settings.part_size(self.said, before)
    }

    fn error(&self, refusal: Refusal) -> Error {
        refusal.into_error("put", &self.conditions)
    }

    fn storage_class(&self) -> Option<StorageClass> {
        self.bucket.settings.storage_class.as_deref().map(StorageClass::from)
    }

    /// Sends the part that is full, once there is room for it.
    async fn send_part(&mut self) -> Result<()> {
        let at_once = self.bucket.settings.parts_at_once;
        // In its place before anything is waited for: it is what an abort needs.
        if self.upload.is_none() {
            self.upload = Some(self.begin());
        }
        let Some(begun) = &mut self.upload else { return Err(ended()) };
        let ready = begun.ready(at_once).await;
        let id = ready.map_err(|refusal| refusal.into_error("put", &self.conditions))?;
        begun.count += 1;
        let part = std::mem::take(&mut self.filling).freeze();
        let sending = send_part(self.bucket.clone(), self.key.clone(), id, begun.count, part);
        let span = span::object(&self.context, "UploadPart", &self.bucket.name);
        begun.under_way.spawn(sending.instrument(span));
        Ok(())
    }

    fn begin(&self) -> Begun {
        let asked = self
            .bucket
            .client
            .create_multipart_upload()
            .bucket(&self.bucket.name)
            .key(&self.key)
            .content_type(&self.content_type)
            .set_metadata(object_metadata(&self.metadata))
            .set_storage_class(self.storage_class());
        let span = span::object(&self.context, "CreateMultipartUpload", &self.bucket.name);
        let starting = async move { Ok(send(asked.send()).await?.upload_id.unwrap_or_default()) };
        Begun {
            starting: Some(tokio::spawn(starting.instrument(span))),
            id: None,
            under_way: JoinSet::new(),
            spare: Vec::new(),
            done: Vec::new(),
            count: 0,
        }
    }

    /// An object that fits into one request.
    async fn put_whole(&mut self) -> Result<ObjectHead> {
        let span = span::object(&self.context, "PutObject", &self.bucket.name);
        let asked = self
            .bucket
            .client
            .put_object()
            .bucket(&self.bucket.name)
            .key(&self.key)
            .content_type(&self.content_type)
            .set_metadata(object_metadata(&self.metadata))
            .set_storage_class(self.storage_class())
            .set_if_match(self.checked_there.if_match.clone())
            .set_if_none_match(self.checked_there.if_none_match.clone())
            .body(self.filling.split().freeze().into())
            .send();
        let stored = send(asked).instrument(span.clone()).await;
        span::record(&span, stored.as_ref().err().map(Refusal::failure));
        let stored = stored.map_err(|refusal| self.error(refusal))?;
        Ok(self.head(stored.e_tag.as_deref(), stored.version_id))
    }

    async fn complete(&mut self) -> Result<ObjectHead> {
        if !self.filling.is_empty() {
            self.send_part().await?;
        }
        let Some(begun) = &mut self.upload else { return Err(ended()) };
        let gathered = begun.gather().await;
        let (id, parts) = gathered.map_err(|refusal| refusal.into_error("put", &self.conditions))?;
        let span = span::object(&self.context, "CompleteMultipartUpload", &self.bucket.name);
        let asked = self
            .bucket
            .client
            .complete_multipart_upload()
            .bucket(&self.bucket.name)
            .key(&self.key)
            .upload_id(id)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
            .set_if_match(self.checked_there.if_match.clone())
            .set_if_none_match(self.checked_there.if_none_match.clone())
            .customize()
            .config_override(without_limit())
            .send();
        let completed = send(asked).instrument(span.clone()).await;
        span::record(&span, completed.as_ref().err().map(Refusal::failure));
        let completed = completed.map_err(|refusal| self.error(refusal))?;
        self.upload = None;
        Ok(self.head(completed.e_tag.as_deref(), completed.version_id))
    }

    fn head(&self, etag: Option<&str>, version_id: Option<String>) -> ObjectHead {
        ObjectHead {
            key: self.key.as_str().into(),
            size: self.size,
            etag: bare(etag).into(),
            content_type: self.content_type.as_str().into(),
            // S3 does not say, and its clock is not ours.
            modified_ms: 0,
            metadata: self.metadata.clone(),
            details: details(version_id, self.bucket.settings.storage_class.clone()),
        }
    }
}

impl Write for Uploading {
    async fn write(&mut self, _context: &CallContext, piece: Buf) -> Result<()> {
        let mut piece = piece.into_bytes();
        self.size += piece.len() as u64;
        while !piece.is_empty() {
            // A part goes only when it is known that there is more, so that a small object is never one.
            let part_size = self.part_size();
            if self.filling.len() >= part_size {
                self.send_part().await.map_err(|error| about_key(error, &self.key))?;
                continue;
            }
            let room = part_size - self.filling.len();
            if self.filling.is_empty() {
                self.filling = self.upload.as_mut().and_then(|begun| begun.spare.pop()).unwrap_or_default();
                self.filling.reserve(self.reservation(part_size));
            }
            self.filling.extend_from_slice(&piece.split_to(room.min(piece.len())));
        }
        Ok(())
    }

    async fn finish(&mut self, _context: &CallContext) -> Result<ObjectHead> {
        let finished = if self.upload.is_none() { self.put_whole().await } else { self.complete().await };
        finished.map_err(|error| about_key(error, &self.key))
    }

    async fn abort(&mut self, context: &CallContext) -> Result<()> {
        self.filling = BytesMut::new();
        let Some(mut begun) = self.upload.take() else { return Ok(()) };
        begun.settle().await;
        let Ok(id) = begun.id().await else { return Ok(()) };
        let span = span::object(context, "AbortMultipartUpload", &self.bucket.name);
        let asked = self.bucket.client.abort_multipart_upload().bucket(&self.bucket.name).key(&self.key);
        let aborted = send(asked.upload_id(id).send()).instrument(span.clone()).await;
        span::record(&span, aborted.as_ref().err().map(Refusal::failure));
        match aborted {
            Err(refusal) if !refusal.is_no_upload() => {
                Err(refusal.into_error("abort", &Conditions::default()))
            }
            _ => Ok(()),
        }
    }
}

impl Uploading {
    /// Room for the next part, or for the rest of an object whose size is known.
    fn reservation(&self, part_size: usize) -> usize {
        let rest = self.said.map(|said| said.saturating_sub(self.size));
        rest.and_then(|rest| usize::try_from(rest).ok())
            .map_or(part_size.min(FIRST), |rest| rest.min(part_size))
    }
}

/// Room for an object whose size nobody knows; it grows from there.
const FIRST: usize = 64 * 1024;

impl Begun {
    async fn id(&mut self) -> Result<String, Refusal> {
        if let Some(starting) = &mut self.starting {
            let started = starting.await.unwrap_or_else(|error| Err(super::broken(error).into()));
            self.starting = None;
            self.id = Some(started?);
        }
        self.id.clone().ok_or_else(|| super::broken("the upload could not be begun").into())
    }

    /// Waits until another part may go, and gives the upload's id.
    async fn ready(&mut self, at_once: usize) -> Result<String, Refusal> {
        while self.under_way.len() >= at_once {
            self.one_done().await?;
        }
        self.id().await
    }

    /// Waits for the parts under way, for better or worse: one that arrived after the abort would stay for ever, and
    /// S3 may still be taking in what was cancelled here.
    async fn settle(&mut self) {
        let ended = async { while self.under_way.join_next().await.is_some() {} };
        if tokio::time::timeout(SETTLING, ended).await.is_err() {
            self.under_way.shutdown().await;
        }
    }

    async fn one_done(&mut self) -> Result<(), Refusal> {
        match self.under_way.join_next().await {
            Some(Ok(sent)) => {
                let Sent { part, bytes } = sent?;
                self.done.push(part);
                if let Ok(mut bytes) = bytes.try_into_mut() {
                    bytes.clear();
                    self.spare.push(bytes);
                }
            }
            Some(Err(error)) => return Err(super::broken(error).into()),
            None => {}
        }
        Ok(())
    }

    /// Waits for every part, and gives the upload's id and its parts in order.
    async fn gather(&mut self) -> Result<(String, Vec<CompletedPart>), Refusal> {
        while !self.under_way.is_empty() {
            self.one_done().await?;
        }
        let mut parts = std::mem::take(&mut self.done);
        parts.sort_unstable_by_key(|part| part.part_number);
        Ok((self.id().await?, parts))
    }
}

fn ended() -> Error {
    Error::internal("s3: the upload has ended")
}

/// A part that is there, and the memory that it was in.
struct Sent {
    part: CompletedPart,
    bytes: Bytes,
}

async fn send_part(
    bucket: Bucket,
    key: String,
    id: String,
    number: i32,
    bytes: Bytes,
) -> Result<Sent, Refusal> {
    let span = tracing::Span::current();
    let asked = bucket.client.upload_part().bucket(&bucket.name).key(key).upload_id(id);
    let sent = send(asked.part_number(number).body(bytes.clone().into()).send()).await;
    span::record(&span, sent.as_ref().err().map(Refusal::failure));
    Ok(Sent { part: CompletedPart::builder().part_number(number).set_e_tag(sent?.e_tag).build(), bytes })
}
