//! `objects.aws.s3`: a bucket as a store of objects.
//!
//! `settings.rs` reads the component, `failure.rs` turns S3's refusals into the boundary's; `download.rs` and `upload.rs` are the two
//! streams, `copy.rs` copies without them.

mod copy;
mod download;
mod failure;
mod settings;
mod upload;

use std::collections::HashMap;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Builder, RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_s3::presigning::{PresignedRequest, PresigningConfig};
use aws_sdk_s3::primitives::DateTime;
use mecha_plugin_api::object::{
    Body, ByteRange, Conditions, CopyRequest, DeleteRequest, GetRequest, ListPage, ListRequest,
    ObjectFeatures, ObjectHead, ObjectStore, PresignRequest, Presigned, PutRequest, Upload,
};
use mecha_plugin_api::{CallContext, ComponentSpec, Error, ErrorKind, Metadata, Result};
use tracing::Instrument as _;

use self::failure::{Refusal, about_key, send};
use self::settings::Settings;
use super::limits;
use crate::client::{Shared, configure};
use crate::error::Failure;
use crate::span;

/// A bucket, the client for it, and how objects get there; cheap to clone.
#[derive(Clone)]
struct Bucket {
    client: Client,
    name: String,
    settings: Settings,
}

/// An open `objects.aws.s3` component.
pub(crate) struct S3Objects {
    bucket: Bucket,
}

impl S3Objects {
    /// Opens the component: the bucket must exist and the credentials be known. A service that cannot be reached now may
    /// come up later.
    pub(crate) async fn open(spec: ComponentSpec, shared: Shared) -> Result<Self> {
        let settings = Settings::read(&spec)?;
        let config = configure(&settings.aws, &shared).await?;
        let mut client =
            Builder::from(&config).force_path_style(settings.force_path_style).timeout_config(limits());
        if settings.aws.endpoint.is_some() {
            // Other servers than AWS's own often do not know the newer checksums.
            client = client
                .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
                .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        }
        if settings.aws.insecure_ssl {
            tracing::warn!(component = %spec.name, "insecureSSL: the server's certificate is not verified");
        }
        let (client, name) = (Client::from_conf(client.build()), settings.bucket.clone());
        let opened = Self { bucket: Bucket { client, name, settings } };
        match opened.bucket.ask_for_it().await {
            Err(error) if error.is_retriable() => {
                tracing::warn!(component = %spec.name, "s3 cannot be asked for the bucket now: {error}");
            }
            asked => asked?,
        }
        Ok(opened)
    }

    /// Checks conditions that S3 would check too late, or some servers not at all: the answer to the caller comes before its
    /// bytes. What S3 can check by itself is checked again there, with the write.
    async fn check(&self, context: &CallContext, key: &str, conditions: &Conditions) -> Result<()> {
        if conditions.is_empty() {
            return Ok(());
        }
        match self.bucket.head(context, key).await {
            Ok(head) => conditions.check(Some(&head.etag)),
            Err(error) if error.kind() == ErrorKind::NOT_FOUND => conditions.check(None),
            Err(error) => Err(error),
        }
    }
}

impl ObjectStore for S3Objects {
    fn features(&self) -> ObjectFeatures {
        ObjectFeatures::PRESIGN
    }

    async fn get(&self, context: &CallContext, request: GetRequest) -> Result<Body> {
        let key = request.key.clone();
        download::open(&self.bucket, context, request).await.map_err(|error| about_key(error, &key))
    }

    async fn put(&self, context: &CallContext, request: PutRequest) -> Result<Upload> {
        let conditions = write_conditions(&request.conditions)?;
        self.check(context, &request.key, &request.conditions).await?;
        Ok(Upload::new(upload::Uploading::new(self.bucket.clone(), context, request, conditions)))
    }

    async fn head(&self, context: &CallContext, request: GetRequest) -> Result<ObjectHead> {
        let found = self.bucket.head(context, &request.key).await;
        checked(found, |head| &head.etag, &request.conditions)
    }

    async fn delete(&self, context: &CallContext, request: DeleteRequest) -> Result<()> {
        let conditions = write_conditions(&request.conditions)?;
        self.check(context, &request.key, &request.conditions).await?;
        let span = span::object(context, "DeleteObject", &self.bucket.name);
        let asked = self
            .bucket
            .client
            .delete_object()
            .bucket(&self.bucket.name)
            .key(&*request.key)
            .set_if_match(conditions.if_match)
            .send();
        let deleted = send(asked).instrument(span.clone()).await;
        span::record(&span, deleted.as_ref().err().map(Refusal::failure));
        match deleted.map(drop).map_err(|refusal| refusal.into_error("delete", &request.conditions)) {
            // To S3 an object that is not there is deleted; other servers say so.
            Err(error) if error.kind() == ErrorKind::NOT_FOUND && error.field().is_none() => Ok(()),
            deleted => deleted.map_err(|error| about_key(error, &request.key)),
        }
    }

    async fn list(&self, context: &CallContext, request: ListRequest) -> Result<ListPage> {
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let span = span::object(context, "ListObjectsV2", &self.bucket.name);
        let asked = self
            .bucket
            .client
            .list_objects_v2()
            .bucket(&self.bucket.name)
            .set_prefix(text(&request.prefix))
            .set_delimiter(text(&request.delimiter))
            .set_continuation_token(text(&request.cursor))
            .max_keys(i32::try_from(request.limit).unwrap_or(i32::MAX))
            .send();
        let listed = send(asked).instrument(span.clone()).await;
        span::record(&span, listed.as_ref().err().map(Refusal::failure));
        let page = listed.map_err(|refusal| {
            let error = refusal.into_error("list", &Conditions::default());
            let is_about_cursor = error.kind() == ErrorKind::INVALID && !request.cursor.is_empty();
            if is_about_cursor { error.with_field("cursor") } else { error }
        })?;
        let objects = page.contents.unwrap_or_default().into_iter().map(|object| ObjectHead {
            key: object.key.unwrap_or_default().into(),
            size: object.size.and_then(|size| size.try_into().ok()).unwrap_or_default(),
            etag: bare(object.e_tag.as_deref()).into(),
            modified_ms: milliseconds(object.last_modified.as_ref()),
            ..ObjectHead::default()
        });
        let prefixes = page.common_prefixes.unwrap_or_default().into_iter().filter_map(|one| one.prefix);
        Ok(ListPage {
            objects: objects.collect(),
            prefixes: prefixes.map(Into::into).collect(),
            cursor: page.next_continuation_token.unwrap_or_default().into(),
        })
    }

    async fn copy(&self, context: &CallContext, request: CopyRequest) -> Result<ObjectHead> {
        let conditions = write_conditions(&request.conditions)?;
        let source = self.bucket.head(context, &request.source).await;
        let source = checked(source, |head| &head.etag, &request.source_conditions)?;
        self.check(context, &request.target, &request.conditions).await?;
        copy::copy(&self.bucket, context, source, &request, conditions).await
    }

    async fn presign(&self, _context: &CallContext, request: PresignRequest) -> Result<Presigned> {
        let how = PresigningConfig::expires_in(request.ttl())
            .map_err(|error| Error::invalid(format!("s3: {error}")).with_field("ttl"))?;
        let (client, bucket, key) = (&self.bucket.client, &self.bucket.name, &*request.key);
        let signed = if request.method == "PUT" {
            let content_type = Some(request.content_type.to_string()).filter(|kind| !kind.is_empty());
            let asked = client.put_object().bucket(bucket).key(key).set_content_type(content_type);
            send(asked.presigned(how)).await
        } else {
            send(client.get_object().bucket(bucket).key(key).presigned(how)).await
        };
        let signed = signed.map_err(|refusal| refusal.into_error("presign", &Conditions::default()))?;
        Ok(presigned(&signed))
    }

    async fn ping(&self, _context: &CallContext) -> Result<()> {
        self.bucket.ask_for_it().await
    }
}

impl Bucket {
    /// Whether the bucket is there and the credentials are known; lacking the right to list it is an answer.
    async fn ask_for_it(&self) -> Result<()> {
        let asked = send(self.client.list_objects_v2().bucket(&self.name).max_keys(1).send()).await;
        let Err(refusal) = asked else { return Ok(()) };
        if refusal.failure().kind() == ErrorKind::DENIED && !refusal.failure().is_about_component() {
            return Ok(());
        }
        Err(refusal.into_error(&format!("list the bucket {}", self.name), &Conditions::default()))
    }

    async fn head(&self, context: &CallContext, key: &str) -> Result<ObjectHead> {
        let span = span::object(context, "HeadObject", &self.name);
        let asked = send(self.client.head_object().bucket(&self.name).key(key).send());
        let found = asked.instrument(span.clone()).await;
        span::record(&span, found.as_ref().err().map(Refusal::failure));
        let found =
            found.map_err(|refusal| about_key(refusal.into_error("look at", &Conditions::default()), key))?;
        Ok(ObjectHead {
            key: key.into(),
            size: found.content_length.and_then(|size| size.try_into().ok()).unwrap_or_default(),
            etag: bare(found.e_tag.as_deref()).into(),
            content_type: found.content_type.unwrap_or_default().into(),
            modified_ms: milliseconds(found.last_modified.as_ref()),
            metadata: found.metadata.unwrap_or_default().into_iter().collect(),
            details: details(found.version_id, found.storage_class.map(|class| class.as_str().to_owned())),
        })
    }
}

/// What was found, if the conditions let it pass.
fn checked<T>(found: Result<T>, etag: impl Fn(&T) -> &str, conditions: &Conditions) -> Result<T> {
    match found {
        Ok(found) => conditions.check(Some(etag(&found))).map(|()| found),
        Err(error) if error.kind() == ErrorKind::NOT_FOUND => conditions.check(None).and(Err(error)),
        Err(error) => Err(error),
    }
}

/// The conditions of a write as S3 takes them.
#[derive(Clone, Default)]
struct WriteConditions {
    if_match: Option<String>,
    if_none_match: Option<String>,
}

/// S3 knows one etag, or any.
fn write_conditions(conditions: &Conditions) -> Result<WriteConditions> {
    let refused = |text: &str, field: &str| Err(Error::unsupported(format!("s3: {text}")).with_field(field));
    let if_match = match &*conditions.if_match {
        [] => None,
        [any] if any == "*" => Some("*".to_owned()),
        [etag] => Some(quoted(etag)),
        _ => return refused("a write can depend on one etag only", "ifMatch"),
    };
    let if_none_match = match &*conditions.if_none_match {
        [] => None,
        [any] if any == "*" => Some("*".to_owned()),
        _ => {
            return refused("a write can depend on there being no object, not on other etags", "ifNoneMatch");
        }
    };
    Ok(WriteConditions { if_match, if_none_match })
}

fn presigned(request: &PresignedRequest) -> Presigned {
    let sent = request.headers().filter(|(name, _)| !name.eq_ignore_ascii_case("host"));
    Presigned { url: request.uri().into(), method: request.method().into(), headers: sent.collect() }
}

fn details(version_id: Option<String>, storage_class: Option<String>) -> Metadata {
    let pairs = [("versionId", version_id), ("storageClass", storage_class)];
    pairs.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

/// An etag without its quotes.
fn bare(etag: Option<&str>) -> &str {
    etag.unwrap_or_default().trim_matches('"')
}

fn milliseconds(time: Option<&DateTime>) -> u64 {
    time.and_then(|time| time.to_millis().ok()).and_then(|time| time.try_into().ok()).unwrap_or_default()
}

/// HTTP's form of a range; `None` for the whole object.
fn range_header(range: ByteRange) -> Option<String> {
    match (range.first.into_option(), range.last.into_option()) {
        (None, None) => None,
        (first, last) => {
            let text = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
            Some(format!("bytes={}-{}", text(first), text(last)))
        }
    }
}

/// An object's own metadata as the SDK takes it.
fn object_metadata(metadata: &Metadata) -> Option<HashMap<String, String>> {
    let pairs = metadata.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    Some(pairs.collect::<HashMap<_, _>>()).filter(|metadata| !metadata.is_empty())
}

/// A transfer that broke in the middle.
fn broken(error: impl std::fmt::Display) -> Failure {
    Failure::new(ErrorKind::UNAVAILABLE, format!("the object broke off: {error}"))
}
