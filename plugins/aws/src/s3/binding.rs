//! `bindings.aws.s3`: Dapr's operations on the objects of one bucket.

use aws_sdk_s3::config::{Builder, RequestChecksumCalculation, ResponseChecksumValidation};
use mecha_plugin_api::binding::{InvokeRequest, InvokeResponse, OutputBinding};
use mecha_plugin_api::{Buf, CallContext, ComponentSpec, Error, ErrorKind, Metadata, Result};

use super::object::{Bucket, NewObject};
use super::payload::{self, Created, ListRequest, Presigned};
use super::settings::{Options, S3Settings, tagging};
use super::{ERROR, bulk, limits, list};
use crate::client::{Shared, configure};
use crate::error::Failure;

const KEY: &str = "key";
const NOT_FOUND: &str = "object not found";

/// An open `bindings.aws.s3` component.
pub(crate) struct S3Binding {
    bucket: Bucket,
    settings: S3Settings,
}

impl S3Binding {
    /// Opens the component: the bucket must exist and the credentials be known. A service that cannot be reached now may
    /// come up later.
    pub(crate) async fn open(spec: ComponentSpec, shared: Shared) -> Result<Self> {
        let settings = S3Settings::read(&spec)?;
        let config = configure(&settings.aws, &shared).await?;
        let mut client =
            Builder::from(&config).force_path_style(settings.force_path_style).timeout_config(limits());
        if settings.aws.endpoint.is_some() {
            // Other servers than AWS's own often do not know the newer checksums.
            client = client
                .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
                .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        }
        let client = aws_sdk_s3::Client::from_conf(client.build());
        if settings.aws.insecure_ssl {
            tracing::warn!(component = %spec.name, "insecureSSL: the server's certificate is not verified");
        }
        let bucket = Bucket { client, name: settings.bucket.clone() };
        let opened = Self { bucket, settings };
        match opened.bucket.ping().await {
            Err(failure)
                if matches!(
                    failure.kind(),
                    ErrorKind::UNAVAILABLE | ErrorKind::TIMEOUT | ErrorKind::THROTTLED
                ) =>
            {
                tracing::warn!(component = %spec.name, "s3 cannot be asked for the bucket now: {failure}");
            }
            Err(failure) => return Err(opened.bucket_error("", failure)),
            Ok(()) => {}
        }
        Ok(opened)
    }

    #[cfg(test)]
    pub(crate) async fn make_bucket(spec: &ComponentSpec) {
        let settings = S3Settings::read(spec).unwrap();
        let config = configure(&settings.aws, &Shared::default()).await.unwrap();
        let client = aws_sdk_s3::Client::from_conf(Builder::from(&config).force_path_style(true).build());
        client.create_bucket().bucket(&settings.bucket).send().await.unwrap();
    }

    #[cfg(test)]
    pub(crate) async fn tags(&self, key: &str) -> Vec<(String, String)> {
        let asked = self.bucket.client.get_object_tagging().bucket(&self.bucket.name).key(key);
        let tags = asked.send().await.unwrap().tag_set.into_iter();
        tags.map(|tag| (tag.key, tag.value)).collect()
    }

    async fn create(&self, context: &CallContext, request: InvokeRequest) -> Result<InvokeResponse> {
        let options = self.settings.options(&request.metadata)?;
        let metadata = &request.metadata;
        let key = text(metadata, KEY).map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned);
        let content_type =
            metadata.get("Content-Type").map(str::trim).filter(|kind| !kind.is_empty()).map(str::to_owned);
        let tagging = metadata.get("tags").map(tagging).transpose()?;
        let body = match &options.file_path {
            Some(path) => bulk::from_file(path, options.decode_base64).await?,
            None => {
                let data = payload::unquoted(request.data.into_bytes());
                if options.decode_base64 { payload::decoded(&data)?.into() } else { data.into() }
            }
        };
        let Options { storage_class, presign_ttl, .. } = options;
        let object = NewObject { key: key.clone(), body, content_type, storage_class, tagging };
        let stored = self.bucket.put(context, object).await;
        let stored = stored.map_err(|failure| self.bucket_error("uploading failed", failure))?;
        let presign_url = match presign_ttl {
            Some(ttl) => Some(self.presigned(&key, ttl).await?),
            None => None,
        };
        let created = Created { location: stored.location, version_id: stored.version_id, presign_url };
        let metadata = Metadata::from_iter([(KEY, key)]);
        Ok(InvokeResponse { metadata, ..json(&created)? })
    }

    async fn get(&self, context: &CallContext, metadata: &Metadata) -> Result<InvokeResponse> {
        let options = self.settings.options(metadata)?;
        let key = required(metadata)?;
        let read = self.bucket.get(context, key).await;
        let data = read.map_err(|failure| self.bucket_error("error downloading S3 object", failure))?;
        let data = if options.encode_base64 { Buf::from(payload::encoded(&data)) } else { data.into() };
        Ok(InvokeResponse { data, ..InvokeResponse::default() })
    }

    async fn delete(&self, context: &CallContext, metadata: &Metadata) -> Result<InvokeResponse> {
        let deleted = self.bucket.delete(context, required(metadata)?).await;
        deleted.map_err(|failure| self.bucket_error("delete operation failed", failure))?;
        Ok(InvokeResponse::default())
    }

    async fn list(&self, context: &CallContext, data: &[u8]) -> Result<InvokeResponse> {
        let request: Option<ListRequest> = match data {
            [] => None,
            data => payload::read(data, "list")?,
        };
        let listed = list::list(context, &self.bucket, request.unwrap_or_default()).await;
        json(&listed.map_err(|failure| self.bucket_error("list operation failed", failure))?)
    }

    async fn presign(&self, metadata: &Metadata) -> Result<InvokeResponse> {
        let options = self.settings.options(metadata)?;
        let key = required(metadata)?;
        let ttl = options.presign_ttl.ok_or_else(|| missing("presignTTL"))?;
        json(&Presigned { presign_url: self.presigned(key, ttl).await? })
    }

    async fn presigned(&self, key: &str, ttl: std::time::Duration) -> Result<String> {
        let presigned = self.bucket.presign(key, ttl).await;
        presigned.map_err(|failure| self.bucket_error("failed to presign URL", failure))
    }

    fn bucket_error(&self, what: &str, failure: Failure) -> Error {
        match failure.code() {
            Some("NoSuchKey") => Error::new(ErrorKind::NOT_FOUND, NOT_FOUND),
            Some("NoSuchBucket") => Error::new(
                ErrorKind::NOT_FOUND,
                format!("{ERROR}: bucket {} does not exist", self.bucket.name),
            )
            .with_field("bucket"),
            _ if what.is_empty() => failure.into_error(&format!("{ERROR}: bucket {}", self.bucket.name)),
            _ => failure.into_error(&format!("{ERROR}: {what}")),
        }
    }
}

impl OutputBinding for S3Binding {
    fn operations(&self) -> Vec<&'static str> {
        vec!["create", "get", "delete", "list", "presign", "bulkGet", "bulkCreate", "bulkDelete"]
    }

    async fn invoke(&self, context: &CallContext, request: InvokeRequest) -> Result<InvokeResponse> {
        let options = || self.settings.options(&request.metadata);
        match request.operation.as_str() {
            "create" => self.create(context, request).await,
            "get" => self.get(context, &request.metadata).await,
            "delete" => self.delete(context, &request.metadata).await,
            "list" => self.list(context, &request.data).await,
            "presign" => self.presign(&request.metadata).await,
            name @ "bulkGet" => json(
                &bulk::get(context, &self.bucket, &options()?, payload::read(&request.data, name)?).await?,
            ),
            name @ "bulkCreate" => json(
                &bulk::create(context, &self.bucket, &options()?, payload::read(&request.data, name)?)
                    .await?,
            ),
            name @ "bulkDelete" => {
                json(&bulk::delete(context, &self.bucket, payload::read(&request.data, name)?).await?)
            }
            other => Err(Error::unsupported(format!("{ERROR}: unsupported operation {other}"))),
        }
    }

    async fn ping(&self, _context: &CallContext) -> Result<()> {
        self.bucket.ping().await.map_err(|failure| self.bucket_error("", failure))
    }
}

fn json(answer: &impl serde::Serialize) -> Result<InvokeResponse> {
    Ok(InvokeResponse { data: payload::write(answer)?.into(), ..InvokeResponse::default() })
}

fn text<'m>(metadata: &'m Metadata, name: &str) -> Option<&'m str> {
    metadata.get(name).filter(|value| !value.is_empty())
}

fn required(metadata: &Metadata) -> Result<&str> {
    text(metadata, KEY).ok_or_else(|| missing(KEY))
}

fn missing(name: &str) -> Error {
    Error::invalid(format!("{ERROR}: required metadata '{name}' missing")).with_field(name)
}
