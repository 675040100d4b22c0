//! Copying inside the bucket: one request, or parts for what is too large for that.

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, MetadataDirective, StorageClass};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use mecha_plugin_api::object::{Conditions, CopyRequest, ObjectHead};
use mecha_plugin_api::{CallContext, Result};
use tracing::Instrument as _;

use super::failure::{Refusal, send};
use super::{Bucket, WriteConditions, bare, details, milliseconds, object_metadata, quoted};
use crate::s3::without_limit;
use crate::span;

/// More than this S3 copies in parts only.
const MOST_AT_ONCE: u64 = 5 << 30;
const PART: u64 = 1 << 30;

/// Copies the object that `source` describes, and no other that takes its place meanwhile.
pub(super) async fn copy(
    bucket: &Bucket,
    context: &CallContext,
    source: ObjectHead,
    request: &CopyRequest,
    conditions: WriteConditions,
) -> Result<ObjectHead> {
    let from = format!("{}/{}", escaped(&bucket.name), escaped(&request.source));
    let copying = Copying { bucket, source: &source, from, target: &request.target, conditions };
    let span = span::object(context, "CopyObject", &bucket.name);
    let copied = async {
        if source.size > MOST_AT_ONCE { copying.in_parts(PART).await } else { copying.at_once().await }
    };
    let copied = copied.instrument(span.clone()).await;
    span::record(&span, copied.as_ref().err().map(Refusal::failure));
    let copied = copied.map_err(|refusal| refusal.into_error("copy", &request.conditions))?;
    Ok(ObjectHead { key: request.target.clone(), ..copied.over(source) })
}

struct Copied {
    etag: Option<String>,
    modified_ms: u64,
    version_id: Option<String>,
}

impl Copied {
    fn over(self, source: ObjectHead) -> ObjectHead {
        ObjectHead {
            etag: bare(self.etag.as_deref()).into(),
            modified_ms: self.modified_ms,
            details: details(self.version_id, None),
            ..source
        }
    }
}

struct Copying<'a> {
    bucket: &'a Bucket,
    source: &'a ObjectHead,
    /// The source as S3 wants it named.
    from: String,
    target: &'a str,
    conditions: WriteConditions,
}

impl Copying<'_> {
    fn storage_class(&self) -> Option<StorageClass> {
        self.bucket.settings.storage_class.as_deref().map(StorageClass::from)
    }

    async fn at_once(&self) -> Result<Copied, Refusal> {
        // S3 refuses to copy an object onto itself without changing anything.
        let is_same = self.source.key == self.target;
        let directive = if is_same { MetadataDirective::Replace } else { MetadataDirective::Copy };
        let asked = self
            .bucket
            .client
            .copy_object()
            .bucket(&self.bucket.name)
            .key(self.target)
            .copy_source(&self.from)
            .copy_source_if_match(quoted(&self.source.etag))
            .metadata_directive(directive)
            .set_content_type(is_same.then(|| self.source.content_type.to_string()))
            .set_metadata(object_metadata(&self.source.metadata).filter(|_| is_same))
            .set_storage_class(self.storage_class())
            .set_if_match(self.conditions.if_match.clone())
            .set_if_none_match(self.conditions.if_none_match.clone());
        let answer = send(asked.customize().config_override(without_limit()).send()).await?;
        let result = answer.copy_object_result;
        Ok(Copied {
            modified_ms: milliseconds(result.as_ref().and_then(|result| result.last_modified.as_ref())),
            etag: result.and_then(|result| result.e_tag),
            version_id: answer.version_id,
        })
    }

    async fn in_parts(&self, part: u64) -> Result<Copied, Refusal> {
        let (client, bucket) = (&self.bucket.client, &self.bucket.name);
        let begun = client
            .create_multipart_upload()
            .bucket(bucket)
            .key(self.target)
            .content_type(&*self.source.content_type)
            .set_metadata(object_metadata(&self.source.metadata))
            .set_storage_class(self.storage_class());
        let id = send(begun.send()).await?.upload_id.unwrap_or_default();
        let copied = self.copy_parts(&id, part).await;
        if copied.is_err() {
            let aborting = client.abort_multipart_upload().bucket(bucket).key(self.target).upload_id(&id);
            if let Err(refusal) = send(aborting.send()).await {
                let error = refusal.into_error("abort", &Conditions::default());
                tracing::warn!(%error, "an unfinished copy could not be removed");
            }
        }
        copied
    }

    async fn copy_parts(&self, id: &str, part: u64) -> Result<Copied, Refusal> {
        let starts = (0..self.source.size.div_ceil(part)).map(|index| index * part);
        let copying = starts.zip(1_i32..).map(|(start, number)| self.copy_part(id, number, start, part));
        let parts: Vec<CompletedPart> =
            stream::iter(copying).buffered(self.bucket.settings.parts_at_once).try_collect().await?;
        let asked = self
            .bucket
            .client
            .complete_multipart_upload()
            .bucket(&self.bucket.name)
            .key(self.target)
            .upload_id(id)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
            .set_if_match(self.conditions.if_match.clone())
            .set_if_none_match(self.conditions.if_none_match.clone());
        let answer = send(asked.customize().config_override(without_limit()).send()).await?;
        Ok(Copied { etag: answer.e_tag, modified_ms: 0, version_id: answer.version_id })
    }

    async fn copy_part(
        &self,
        id: &str,
        number: i32,
        start: u64,
        part: u64,
    ) -> Result<CompletedPart, Refusal> {
        let end = self.source.size.min(start + part) - 1;
        let asked = self
            .bucket
            .client
            .upload_part_copy()
            .bucket(&self.bucket.name)
            .key(self.target)
            .upload_id(id)
            .part_number(number)
            .copy_source(&self.from)
            .copy_source_if_match(quoted(&self.source.etag))
            .copy_source_range(format!("bytes={start}-{end}"));
        let answer = send(asked.customize().config_override(without_limit()).send()).await?;
        let etag = answer.copy_part_result.and_then(|result| result.e_tag);
        Ok(CompletedPart::builder().part_number(number).set_e_tag(etag).build())
    }
}

/// A name as a header holds it: percent-encoded, slashes left.
fn escaped(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                escaped.push(byte.into());
            }
            other => escaped.push_str(&format!("%{other:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_escaped_but_for_its_slashes() {
        assert_eq!(escaped("a/b c+ä"), "a/b%20c%2B%C3%A4");
    }
}
