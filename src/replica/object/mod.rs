//! Where replicas live: a store of objects, be it a folder or a bucket.

pub mod file;
pub mod s3;
pub mod url;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

/// One object of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Relative to the path of the replica, with `/` between its parts
    pub key: String,
    pub size: u64,
    /// Milliseconds since 1970, by the clock of the store
    pub modified_ms: i64,
}

/// What is kept beside an object's bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// The time of the newest transaction inside, in milliseconds since 1970. A bucket keeps it as
    /// `x-amz-meta-litestream-timestamp`, a folder as the time of the file.
    pub timestamp_ms: i64,
    /// More words, lower case; folders drop them
    pub extra: BTreeMap<String, String>,
}

/// The bytes of an object on their way up.
#[derive(Clone, Debug)]
pub enum Body {
    Bytes(Bytes),
    /// The whole file, which must not change meanwhile
    File(PathBuf),
}

/// A replica's place in a store. All keys are relative to it.
#[async_trait]
pub trait ObjectStore: Send + Sync + 'static {
    /// Its address, such as `s3://bucket/path` or `file:///folder`, without any secret.
    fn describe(&self) -> String;

    /// Where the files of a level are: `ltx/9/` in a folder, `0009/` in a bucket.
    fn level_prefix(&self, level: u8) -> String;

    /// Everything whose key begins with `prefix`, sorted by key.
    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, Error>;

    async fn head(&self, key: &str) -> Result<(Listed, Meta), Error>;

    /// The object, or the bytes in `range`; a range that reaches past the end is cut there.
    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Bytes, Error>;

    /// Stores the object whole or not at all. When it returns, the object is durable.
    async fn put(&self, key: &str, body: Body, meta: &Meta) -> Result<(), Error>;

    /// An object that is not there is deleted already.
    async fn delete(&self, key: &str) -> Result<(), Error>;

    /// The same store at a path below this one.
    fn at(&self, sub: &str) -> Arc<dyn ObjectStore>;
}

/// What a store did not do, and to which object.
#[derive(Debug, thiserror::Error)]
#[error("{object}: {kind}")]
pub struct Error {
    pub kind: Kind,
    /// The address of the object, or of the place that was listed
    pub object: String,
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    NotFound,
    /// The store knows us not, or does not let us; with its own word for it
    Denied(String),
    /// Our clock and the store's differ too much for a signature to hold
    Skewed,
    /// The store asks for patience, maybe for a given time
    Busy(Option<Duration>),
    /// No answer, or only a part of one
    Unreachable,
    /// The store does not do this; with its own word for it
    Refused(String),
    /// The disk under a folder
    Io,
    /// An answer or a key that makes no sense
    Malformed(String),
}

impl Error {
    pub fn new(kind: Kind, object: impl Into<String>) -> Error {
        Error { kind, object: object.into(), source: None }
    }

    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        self.source = Some(source.into());
        self
    }

    /// Whether the same request may go well later without anybody doing anything.
    pub fn retryable(&self) -> bool {
        matches!(self.kind, Kind::Busy(_) | Kind::Unreachable | Kind::Io)
    }

    pub fn is_not_found(&self) -> bool {
        self.kind == Kind::NotFound
    }
}

impl Kind {
    /// A word for counters.
    pub fn word(&self) -> &'static str {
        match self {
            Kind::NotFound => "not_found",
            Kind::Denied(_) => "denied",
            Kind::Skewed => "skewed",
            Kind::Busy(_) => "busy",
            Kind::Unreachable => "unreachable",
            Kind::Refused(_) => "refused",
            Kind::Io => "io",
            Kind::Malformed(_) => "malformed",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::NotFound => f.write_str("is not there"),
            Kind::Denied(why) => write!(f, "the store denies it ({why}); check the access key and what it may do"),
            Kind::Skewed => f.write_str("the clocks of this machine and of the store differ too much; set the clock"),
            Kind::Busy(_) => f.write_str("the store is busy and asks to come again later"),
            Kind::Unreachable => f.write_str("the store does not answer"),
            Kind::Refused(why) => write!(f, "the store refuses it ({why})"),
            Kind::Io => f.write_str("the disk does not do it"),
            Kind::Malformed(why) => write!(f, "makes no sense: {why}"),
        }
    }
}

/// `sub` below `path`, without doubled or outer slashes.
fn join(path: &str, sub: &str) -> String {
    let (path, sub) = (path.trim_matches('/'), sub.trim_matches('/'));
    match (path, sub) {
        ("", _) => sub.to_owned(),
        (_, "") => path.to_owned(),
        _ => format!("{path}/{sub}"),
    }
}

/// Keys come from listings too, which others can write.
fn is_plain(key: &str) -> bool {
    !key.is_empty()
        && key.len() <= 512
        && !key.contains(['\0', '\\'])
        && key.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_join_with_one_slash() {
        assert_eq!(join("", "a"), "a");
        assert_eq!(join("a/", "/b/c/"), "a/b/c");
        assert_eq!(join("/a", ""), "a");
    }

    #[test]
    fn keys_that_lead_elsewhere_are_not_plain() {
        for key in ["", "/a", "a//b", "../a", "a/../b", "a/.", "a\\b", "a\0"] {
            assert!(!is_plain(key), "{key:?}");
        }
        assert!(is_plain("ltx/9/0000000000000001-0000000000000001.ltx"));
    }
}
