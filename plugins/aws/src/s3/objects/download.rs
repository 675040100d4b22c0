//! Reading: an object's bytes as S3 sends them, taken up again where the connection broke.

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use mecha_plugin_api::object::{Body, ByteRange, Conditions, GetRequest, ObjectHead, Read};
use mecha_plugin_api::{Buf, CallContext, ErrorKind, ROption, Result};
use tracing::Instrument as _;

use super::failure::{Refusal, send};
use super::{Bucket, bare, broken, checked, details, milliseconds, quoted, range_header};
use crate::error::Failure;
use crate::s3::ahead::Incoming;
use crate::span;

/// How often one reading is taken up again.
const MOST_RESUMED: u32 = 5;

pub(super) async fn open(bucket: &Bucket, context: &CallContext, request: GetRequest) -> Result<Body> {
    let (key, conditions) = (&*request.key, &request.conditions);
    let opened = match ask(bucket, context, key, request.range, conditions).await {
        Ok(answer) => Ok(answer),
        Err(refusal) if refusal.is_about_range() => {
            // Its size belongs into the answer, and S3 does not say it here.
            let head = checked(bucket.head(context, key).await, |head| &head.etag, conditions)?;
            request.range.within(head.size)?;
            Err(refusal.into_error("get", conditions))
        }
        Err(refusal) => Err(refusal.into_error("get", conditions)),
    };
    // S3 takes one etag of each kind; lists are checked here.
    let answer = checked(opened, |answer| bare(answer.e_tag.as_deref()), conditions)?;
    let length = answer.content_length.and_then(|length| u64::try_from(length).ok()).unwrap_or_default();
    let (first, size) = place(answer.content_range.as_deref()).unwrap_or((0, length));
    let head = ObjectHead {
        key: key.into(),
        size,
        etag: bare(answer.e_tag.as_deref()).into(),
        content_type: answer.content_type.unwrap_or_default().into(),
        modified_ms: milliseconds(answer.last_modified.as_ref()),
        metadata: answer.metadata.unwrap_or_default().into_iter().collect(),
        details: details(answer.version_id, answer.storage_class.map(|class| class.as_str().to_owned())),
    };
    let reading = Reading {
        bucket: bucket.clone(),
        key: key.to_owned(),
        etag: head.etag.to_string(),
        body: Incoming::new(answer.body, length),
        at: first,
        end: first + length,
        resumed: 0,
    };
    Ok(Body::new(head, first, length, reading))
}

async fn ask(
    bucket: &Bucket,
    context: &CallContext,
    key: &str,
    range: ByteRange,
    conditions: &Conditions,
) -> Result<GetObjectOutput, Refusal> {
    let only = |list: &[mecha_plugin_api::RString]| match list {
        [etag] if etag != "*" => Some(quoted(etag)),
        _ => None,
    };
    let span = span::object(context, "GetObject", &bucket.name);
    let asked = bucket
        .client
        .get_object()
        .bucket(&bucket.name)
        .key(key)
        .set_range(range_header(range))
        .set_if_match(only(&conditions.if_match))
        .set_if_none_match(only(&conditions.if_none_match))
        .send();
    let answered = send(asked).instrument(span.clone()).await;
    span::record(&span, answered.as_ref().err().map(Refusal::failure));
    answered
}

/// First byte and whole size, out of `bytes 0-9/100`.
fn place(content_range: Option<&str>) -> Option<(u64, u64)> {
    let (range, size) = content_range?.trim().strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, size.parse().ok()?))
}

/// An object on its way here.
struct Reading {
    bucket: Bucket,
    key: String,
    etag: String,
    body: Incoming,
    at: u64,
    end: u64,
    resumed: u32,
}

impl Read for Reading {
    async fn next(&mut self, context: &CallContext) -> Result<Option<Buf>> {
        loop {
            let failure = match self.body.next().await {
                Some(Ok(piece)) if piece.is_empty() => continue,
                Some(Ok(piece)) => {
                    self.at += piece.len() as u64;
                    return Ok(Some(piece.into()));
                }
                None if self.at >= self.end => return Ok(None),
                None => broken("the connection was closed"),
                Some(Err(error)) => broken(error),
            };
            self.resume(context, failure).await?;
        }
    }
}

impl Reading {
    /// Asks for what is still missing, of this very object and no other.
    async fn resume(&mut self, context: &CallContext, failure: Failure) -> Result<()> {
        let is_resumable = self.resumed < MOST_RESUMED && !self.etag.is_empty() && self.at < self.end;
        if !is_resumable {
            return Err(failure.into_error("s3"));
        }
        self.resumed += 1;
        tracing::debug!("s3: reading on after a broken connection: {failure}");
        let range = ByteRange { first: ROption::RSome(self.at), last: ROption::RSome(self.end - 1) };
        let if_match = vec![self.etag.as_str().into()].into();
        let conditions = Conditions { if_match, ..Conditions::default() };
        let answered = ask(&self.bucket, context, &self.key, range, &conditions).await;
        match answered {
            Ok(answer) if bare(answer.e_tag.as_deref()) == self.etag => {
                self.body = Incoming::new(answer.body, self.end - self.at);
                Ok(())
            }
            // Another object has taken its place.
            Ok(_) => Err(failure.into_error("s3")),
            Err(refusal) => {
                let error = refusal.into_error("get", &conditions);
                Err(if error.kind() == ErrorKind::ETAG_MISMATCH { failure.into_error("s3") } else { error })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_says_where_the_part_lies() {
        assert_eq!(place(Some("bytes 5-9/100")), Some((5, 100)));
        for wrong in [None, Some("bytes */100"), Some("bytes 5-9/*"), Some("lines 5-9/100")] {
            assert_eq!(place(wrong), None, "{wrong:?}");
        }
    }
}
