//! What is in a replica: its lineage and its files.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;

use super::Error;
use crate::replica::ltx::Level;
use crate::replica::object::{self, Kind, ObjectStore};
use crate::replica::plan::{Candidate, Target};

/// Objects that are asked for their time at once.
const HEADS: usize = 50;
const HEAD_KEY: &str = "HEAD.json";
const HEAD_BYTES_MAX: u64 = 1 << 20;
const LINEAGE_CHARS_MAX: usize = 64;

/// Which lineage of a replica is the current one. Litestream writes no such object.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Head {
    pub lineage: String,
    pub parent: Option<String>,
    pub fork_txid: Option<serde_json::Value>,
    pub host: Option<String>,
    pub created_at: Option<String>,
}

/// The current lineage; none in a replica of Litestream's.
pub async fn head(store: &Arc<dyn ObjectStore>) -> Result<Option<Head>, Error> {
    let bytes = match store.get(HEAD_KEY, Some(0..HEAD_BYTES_MAX)).await {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let malformed = |why: String| object::Error::new(Kind::Malformed(why), format!("{}/{HEAD_KEY}", store.describe()));
    let head: Head = serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
    let is_plain = (1..=LINEAGE_CHARS_MAX).contains(&head.lineage.len())
        && head.lineage.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !is_plain {
        return Err(malformed("its lineage is no identifier".to_owned()).into());
    }
    Ok(Some(head))
}

/// All files of all levels. Their times are asked for only when the target is a time: in a bucket
/// a listing does not have them.
pub async fn catalog(store: &Arc<dyn ObjectStore>, target: Target) -> Result<Vec<Candidate>, Error> {
    let mut files = Vec::new();
    for level in Level::all() {
        for listed in store.list(&store.level_prefix(level.number())).await? {
            // Unfinished uploads and what others put there are no files of ours.
            let Some(Ok(name)) = listed.key.rsplit('/').next().map(str::parse) else { continue };
            let (size, timestamp_ms) = (listed.size, listed.modified_ms);
            files.push(Candidate { level, name, key: listed.key, size, timestamp_ms });
        }
    }
    if !matches!(target, Target::Before(_)) {
        return Ok(files);
    }
    let dated = stream::iter(files).map(|mut file| async move {
        match store.head(&file.key).await {
            Ok((_, meta)) => {
                file.timestamp_ms = meta.timestamp_ms;
                Ok(Some(file))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    });
    let dated: Vec<Option<Candidate>> = dated.buffered(HEADS).try_collect().await?;
    Ok(dated.into_iter().flatten().collect())
}
