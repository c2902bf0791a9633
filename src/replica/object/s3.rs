//! A replica in a bucket: any S3 store, asked only for what Backblaze B2 does too.
//!
//! Path style, signed payloads, `Content-MD5`, no checksum headers, no conditional requests, one
//! deletion a request. This is the one file that knows the client library.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Config, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use md5::{Digest, Md5};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use zeroize::Zeroizing;

use super::{Body, Error, Kind, Listed, Meta, ObjectStore, join};
use crate::clock::Timestamp;

const CONNECT: Duration = Duration::from_secs(5);
const FIRST_BYTE: Duration = Duration::from_secs(30);
/// A part over a slow line takes its time.
const WHOLE_REQUEST: Duration = Duration::from_secs(180);
/// Larger objects go up in parts, so that neither memory nor a broken line costs much.
const SINGLE_BYTES_MAX: u64 = 8 << 20;
const PART_BYTES: usize = 5 << 20;
/// Under which Litestream keeps the time of the newest transaction.
const TIMESTAMP: &str = "litestream-timestamp";

/// Which bucket, and who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub bucket: String,
    /// In front of every key, without outer slashes
    pub path: String,
    /// With its scheme; none means AWS's own for the region
    pub endpoint: Option<String>,
    pub region: String,
    pub force_path_style: bool,
    pub access: Access,
}

/// A key to the store; it is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Access {
    pub id: String,
    pub secret: Zeroizing<String>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Access(***)")
    }
}

/// A path in a bucket.
#[derive(Clone)]
pub struct S3 {
    client: Client,
    bucket: String,
    path: String,
}

impl S3 {
    pub fn new(settings: &Settings) -> S3 {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .read_timeout(FIRST_BYTE)
            .operation_attempt_timeout(WHOLE_REQUEST)
            .build();
        let http =
            aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let access = &settings.access;
        let credentials = Credentials::new(&access.id, access.secret.as_str(), None, None, "configuration");
        let mut config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http)
            .region(Region::new(settings.region.clone()))
            .credentials_provider(credentials)
            .force_path_style(settings.force_path_style)
            .timeout_config(timeouts)
            // Whoever calls knows better how long to wait, and what to do instead.
            .retry_config(RetryConfig::disabled())
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        if let Some(endpoint) = &settings.endpoint {
            config = config.endpoint_url(endpoint);
        }
        let client = Client::from_conf(config.build());
        S3 { client, bucket: settings.bucket.clone(), path: join("", &settings.path) }
    }

    fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}/{key}", self.path) }
    }

    fn address(&self, key: &str) -> String {
        format!("s3://{}/{}", self.bucket, self.key(key))
    }

    fn failed<E>(&self, key: &str, error: SdkError<E>) -> Error
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        Error::new(kind(&error), self.address(key)).with_source(error)
    }

    fn malformed(&self, key: &str, why: impl fmt::Display) -> Error {
        Error::new(Kind::Malformed(why.to_string()), self.address(key))
    }

    async fn put_single(&self, key: &str, bytes: Bytes, meta: &Meta) -> Result<(), Error> {
        let mut request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(self.key(key))
            .content_type("application/octet-stream")
            .content_md5(STANDARD.encode(Md5::digest(&bytes)));
        for (name, value) in words(meta) {
            request = request.metadata(name, value);
        }
        request.body(ByteStream::from(bytes)).send().await.map_err(|error| self.failed(key, error))?;
        Ok(())
    }

    async fn put_in_parts(&self, key: &str, file: PathBuf, size: u64, meta: &Meta) -> Result<(), Error> {
        let mut request = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(self.key(key))
            .content_type("application/octet-stream");
        for (name, value) in words(meta) {
            request = request.metadata(name, value);
        }
        let begun = request.send().await.map_err(|error| self.failed(key, error))?;
        let upload = begun.upload_id().ok_or_else(|| self.malformed(key, "an upload in parts without a name"))?;
        let done = self.put_parts(key, upload, file).await;
        if done.is_err() {
            // The store's own rule for unfinished uploads clears what this does not reach.
            let abort = self.client.abort_multipart_upload().bucket(&self.bucket).key(self.key(key)).upload_id(upload);
            if let Err(error) = abort.send().await {
                tracing::debug!(%error, "an unfinished upload stays until the store's rule for them clears it");
            }
        }
        done?;
        let (listed, _) = self.head(key).await?;
        if listed.size == size {
            return Ok(());
        }
        Err(self.malformed(key, format_args!("{} bytes arrived of {size}", listed.size)))
    }

    async fn put_parts(&self, key: &str, upload: &str, path: PathBuf) -> Result<(), Error> {
        let failed = |error: std::io::Error| Error::new(Kind::Io, path.display().to_string()).with_source(error);
        let mut file = File::open(&path).await.map_err(failed)?;
        let mut parts = CompletedMultipartUpload::builder();
        for number in 1.. {
            let mut bytes = Vec::with_capacity(PART_BYTES);
            let mut part = (&mut file).take(PART_BYTES as u64);
            part.read_to_end(&mut bytes).await.map_err(failed)?;
            if bytes.is_empty() {
                break;
            }
            let sent = self
                .client
                .upload_part()
                .bucket(&self.bucket)
                .key(self.key(key))
                .upload_id(upload)
                .part_number(number)
                .content_md5(STANDARD.encode(Md5::digest(&bytes)))
                .body(ByteStream::from(bytes))
                .send()
                .await
                .map_err(|error| self.failed(key, error))?;
            parts = parts.parts(CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag).build());
        }
        self.client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(self.key(key))
            .upload_id(upload)
            .multipart_upload(parts.build())
            .send()
            .await
            .map_err(|error| self.failed(key, error))?;
        Ok(())
    }
}

#[async_trait]
impl ObjectStore for S3 {
    fn describe(&self) -> String {
        self.address("").trim_end_matches('/').to_owned()
    }

    fn level_prefix(&self, level: u8) -> String {
        format!("{level:04x}/")
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, Error> {
        let whole = self.key(prefix);
        let own = self.key("");
        let mut pages = self.client.list_objects_v2().bucket(&self.bucket).prefix(whole).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.failed(prefix, error))?;
            for object in page.contents.unwrap_or_default() {
                let Some(key) = object.key.as_deref().and_then(|key| key.strip_prefix(&own)) else { continue };
                found.push(Listed {
                    key: key.to_owned(),
                    size: object.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
                    modified_ms: millis(object.last_modified.as_ref()),
                });
            }
        }
        found.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }

    async fn head(&self, key: &str) -> Result<(Listed, Meta), Error> {
        let request = self.client.head_object().bucket(&self.bucket).key(self.key(key));
        let answer = request.send().await.map_err(|error| self.failed(key, error))?;
        Ok(described(key, answer))
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Bytes, Error> {
        if range.as_ref().is_some_and(|range| range.end <= range.start) {
            return Ok(Bytes::new());
        }
        let range = range.map(|range| format!("bytes={}-{}", range.start, range.end - 1));
        let request = self.client.get_object().bucket(&self.bucket).key(self.key(key)).set_range(range);
        let answer = request.send().await.map_err(|error| self.failed(key, error))?;
        let length = answer.content_length.and_then(|length| u64::try_from(length).ok());
        let broken = |error| Error::new(Kind::Unreachable, self.address(key)).with_source(error);
        let bytes = answer.body.collect().await.map_err(broken)?.into_bytes();
        if length.is_some_and(|length| length != bytes.len() as u64) {
            return Err(Error::new(Kind::Unreachable, self.address(key)).with_source("the answer was cut short"));
        }
        Ok(bytes)
    }

    async fn put(&self, key: &str, body: Body, meta: &Meta) -> Result<(), Error> {
        let path = match body {
            Body::Bytes(bytes) => return self.put_single(key, bytes, meta).await,
            Body::File(path) => path,
        };
        let failed = |error: std::io::Error| Error::new(Kind::Io, path.display().to_string()).with_source(error);
        let size = tokio::fs::metadata(&path).await.map_err(failed)?.len();
        if SINGLE_BYTES_MAX < size {
            return self.put_in_parts(key, path, size, meta).await;
        }
        let bytes = tokio::fs::read(&path).await.map_err(failed)?;
        self.put_single(key, bytes.into(), meta).await
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        let request = self.client.delete_object().bucket(&self.bucket).key(self.key(key));
        match request.send().await.map_err(|error| self.failed(key, error)) {
            Err(error) if error.is_not_found() => Ok(()),
            result => result.map(|_| ()),
        }
    }

    fn at(&self, sub: &str) -> Arc<dyn ObjectStore> {
        Arc::new(S3 { path: join(&self.path, sub), ..self.clone() })
    }
}

fn words(meta: &Meta) -> Vec<(String, String)> {
    let time = Timestamp::from_millis(meta.timestamp_ms).to_string();
    let extra = meta.extra.iter().map(|(name, value)| (name.clone(), value.clone()));
    std::iter::once((TIMESTAMP.to_owned(), time)).chain(extra).collect()
}

fn described(key: &str, answer: HeadObjectOutput) -> (Listed, Meta) {
    let modified_ms = millis(answer.last_modified.as_ref());
    let size = answer.content_length.and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
    let mut extra: std::collections::BTreeMap<_, _> = answer.metadata.unwrap_or_default().into_iter().collect();
    let time = extra.remove(TIMESTAMP).and_then(|text| text.parse::<Timestamp>().ok());
    let timestamp_ms = time.map_or(modified_ms, Timestamp::as_millis);
    (Listed { key: key.to_owned(), size, modified_ms }, Meta { timestamp_ms, extra })
}

fn millis(time: Option<&DateTime>) -> i64 {
    time.and_then(|time| time.to_millis().ok()).unwrap_or(0)
}

fn kind<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Kind {
    match error {
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            answered(status, answer.err().code(), answer.err().message(), retry_after(answer.raw()))
        }
        SdkError::ResponseError(answer) if answer.raw().status().is_success() => Kind::Unreachable,
        SdkError::ResponseError(answer) => answered(answer.raw().status().as_u16(), None, None, None),
        SdkError::ConstructionFailure(_) => Kind::Malformed("the request cannot be made".to_owned()),
        _ => Kind::Unreachable,
    }
}

/// What a store means by a status and its word for it.
fn answered(status: u16, code: Option<&str>, message: Option<&str>, wait: Option<Duration>) -> Kind {
    let why = match (code, message) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        _ => format!("status {status}"),
    };
    match (status, code.unwrap_or_default()) {
        (_, "RequestTimeTooSkewed") => Kind::Skewed,
        (_, "NoSuchBucket") => Kind::Refused(why),
        (_, "NoSuchKey" | "NoSuchUpload") | (404, _) => Kind::NotFound,
        (_, "ExpiredToken" | "InvalidToken" | "InvalidAccessKeyId" | "SignatureDoesNotMatch") | (401 | 403, _) => {
            Kind::Denied(why)
        }
        (_, "SlowDown" | "RequestTimeout" | "BadDigest" | "IncompleteBody" | "InternalError")
        | (408 | 429 | 500 | 502 | 503 | 504, _) => Kind::Busy(wait),
        _ => Kind::Refused(why),
    }
}

fn retry_after(answer: &HttpResponse) -> Option<Duration> {
    const LONGEST: u64 = 3600;
    let seconds = answer.headers().get("retry-after")?.trim().parse::<u64>().ok()?;
    Some(Duration::from_secs(seconds.min(LONGEST)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_kind() {
        let kind = |status, code| answered(status, Some(code), None, None);
        assert_eq!(kind(403, "RequestTimeTooSkewed"), Kind::Skewed);
        assert_eq!(kind(403, "AccessDenied"), Kind::Denied("AccessDenied".to_owned()));
        assert_eq!(kind(404, "NoSuchKey"), Kind::NotFound);
        assert_eq!(kind(404, "NoSuchBucket"), Kind::Refused("NoSuchBucket".to_owned()));
        assert_eq!(kind(503, "SlowDown"), Kind::Busy(None));
        assert_eq!(answered(429, None, None, Some(Duration::from_secs(3))), Kind::Busy(Some(Duration::from_secs(3))));
        assert_eq!(kind(501, "NotImplemented"), Kind::Refused("NotImplemented".to_owned()));
        assert_eq!(kind(400, "BadDigest"), Kind::Busy(None));
    }
}
