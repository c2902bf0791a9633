//! A replica in a folder: each object a file, written beside and renamed.

use std::fs::{self, File, FileTimes};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Body, Error, Kind, Listed, Meta, ObjectStore, is_plain};

/// Files whose name begins with it are being written, or were when the machine stopped.
const UNFINISHED: &str = ".tmp-";

/// A folder of objects; it is made by the first that is put there.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    pub fn new(root: impl Into<PathBuf>) -> Folder {
        Folder { root: root.into() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    fn address(&self, key: &str) -> String {
        format!("file://{}", self.root.join(key).display())
    }

    fn path(&self, key: &str) -> Result<PathBuf, Error> {
        if is_plain(key) {
            return Ok(self.root.join(key));
        }
        Err(Error::new(Kind::Malformed("not a key".to_owned()), self.address(key)))
    }

    fn failed(&self, key: &str, error: io::Error) -> Error {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => Kind::NotFound,
            io::ErrorKind::PermissionDenied => Kind::Denied(error.to_string()),
            _ => Kind::Io,
        };
        Error::new(kind, self.address(key)).with_source(error)
    }

    /// Runs `work` on a thread for blocking work.
    async fn blocking<T: Send + 'static>(
        &self,
        key: &str,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result.map_err(|error| self.failed(key, error)),
            Err(error) => Err(Error::new(Kind::Io, self.address(key)).with_source(error)),
        }
    }
}

#[async_trait]
impl ObjectStore for Folder {
    fn describe(&self) -> String {
        format!("file://{}", self.root.display())
    }

    fn level_prefix(&self, level: u8) -> String {
        format!("ltx/{level}/")
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, Error> {
        let (root, wanted) = (self.root.clone(), prefix.to_owned());
        self.blocking(prefix, move || {
            let mut found = Vec::new();
            // Only the folder that the prefix ends in has to be walked.
            let below = wanted.rfind('/').map_or("", |at| &wanted[..at]);
            if below.is_empty() || is_plain(below) {
                walk(&root, &root.join(below), &mut found)?;
            }
            found.retain(|listed| listed.key.starts_with(&wanted));
            found.sort_by(|a, b| a.key.cmp(&b.key));
            Ok(found)
        })
        .await
    }

    async fn head(&self, key: &str) -> Result<(Listed, Meta), Error> {
        let path = self.path(key)?;
        let about = self.blocking(key, move || fs::metadata(path)).await?;
        let modified_ms = modified_ms(&about);
        let listed = Listed { key: key.to_owned(), size: about.len(), modified_ms };
        Ok((listed, Meta { timestamp_ms: modified_ms, ..Meta::default() }))
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Bytes, Error> {
        let path = self.path(key)?;
        self.blocking(key, move || {
            let mut file = File::open(path)?;
            let size = file.metadata()?.len();
            let range = range.unwrap_or(0..size);
            let length = range.end.min(size).saturating_sub(range.start);
            file.seek(SeekFrom::Start(range.start))?;
            let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
            file.take(length).read_to_end(&mut bytes)?;
            Ok(Bytes::from(bytes))
        })
        .await
    }

    async fn put(&self, key: &str, body: Body, meta: &Meta) -> Result<(), Error> {
        let path = self.path(key)?;
        let modified = time(meta.timestamp_ms);
        self.blocking(key, move || write(&path, body, modified)).await
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        let path = self.path(key)?;
        self.blocking(key, move || match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        })
        .await
    }

    fn at(&self, sub: &str) -> Arc<dyn ObjectStore> {
        Arc::new(Folder { root: self.root.join(sub.trim_matches('/')) })
    }
}

/// A folder that is not there holds nothing.
fn walk(root: &Path, folder: &Path, found: &mut Vec<Listed>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            walk(root, &path, found)?;
        }
        let is_unfinished = entry.file_name().to_string_lossy().starts_with(UNFINISHED);
        if !kind.is_file() || is_unfinished {
            continue;
        }
        let about = match entry.metadata() {
            Ok(about) => about,
            // Deleted between the two looks.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let Some(key) = path.strip_prefix(root).ok().and_then(Path::to_str) else { continue };
        found.push(Listed { key: key.to_owned(), size: about.len(), modified_ms: modified_ms(&about) });
    }
    Ok(())
}

/// The name appears only once the bytes are on disk, and is on disk itself at the end.
fn write(path: &Path, body: Body, modified: SystemTime) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    make_folder(folder)?;
    let unfinished = folder.join(format!("{UNFINISHED}{}", name.to_string_lossy()));
    let written = (|| {
        let mut file = File::create(&unfinished)?;
        match body {
            Body::Bytes(bytes) => file.write_all(&bytes)?,
            Body::File(source) => {
                io::copy(&mut File::open(source)?, &mut file)?;
            }
        }
        file.set_times(FileTimes::new().set_modified(modified))?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    })();
    if written.is_err() {
        // What is left of a failed write is in nobody's way; the next one writes over it.
        let _ = fs::remove_file(&unfinished);
    }
    written.and_then(|()| File::open(folder)?.sync_all())
}

/// Makes the folder and its parents, each one's name on disk.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().ok_or(io::ErrorKind::InvalidInput)?;
    make_folder(parent)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => File::open(parent)?.sync_all(),
    }
}

fn time(millis: i64) -> SystemTime {
    let distance = Duration::from_millis(millis.unsigned_abs());
    let moment = if millis < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    moment.unwrap_or(UNIX_EPOCH)
}

fn modified_ms(about: &fs::Metadata) -> i64 {
    let millis = |distance: Duration| i64::try_from(distance.as_millis()).unwrap_or(i64::MAX);
    match about.modified().map(|moment| moment.duration_since(UNIX_EPOCH)) {
        Ok(Ok(after)) => millis(after),
        Ok(Err(before)) => -millis(before.duration()),
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(timestamp_ms: i64) -> Meta {
        Meta { timestamp_ms, ..Meta::default() }
    }

    #[tokio::test]
    async fn what_is_put_is_listed_and_comes_back() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = Folder::new(scratch.path().join("replica"));
        assert!(folder.list("").await.unwrap().is_empty());
        folder.put("ltx/0/b", Body::Bytes(Bytes::from_static(b"bytes")), &meta(1_700_000_000_123)).await.unwrap();
        folder.put("ltx/0/a", Body::Bytes(Bytes::from_static(b"")), &meta(5)).await.unwrap();
        folder.put("ltx/9/c", Body::Bytes(Bytes::from_static(b"c")), &meta(6)).await.unwrap();

        let keys: Vec<String> = folder.list("ltx/0/").await.unwrap().into_iter().map(|listed| listed.key).collect();
        assert_eq!(keys, ["ltx/0/a", "ltx/0/b"]);
        assert_eq!(folder.list("").await.unwrap().len(), 3);
        let (listed, about) = folder.head("ltx/0/b").await.unwrap();
        assert_eq!((listed.size, about.timestamp_ms), (5, 1_700_000_000_123));
        assert_eq!(&folder.get("ltx/0/b", None).await.unwrap()[..], b"bytes");
        assert_eq!(&folder.get("ltx/0/b", Some(1..3)).await.unwrap()[..], b"yt");
        assert_eq!(&folder.get("ltx/0/b", Some(3..99)).await.unwrap()[..], b"es");
        assert_eq!(&folder.at("ltx").get("9/c", None).await.unwrap()[..], b"c");

        folder.delete("ltx/0/b").await.unwrap();
        folder.delete("ltx/0/b").await.unwrap();
        assert!(folder.get("ltx/0/b", None).await.unwrap_err().is_not_found());
    }

    #[tokio::test]
    async fn keys_stay_inside_and_unfinished_files_are_not_listed() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = Folder::new(scratch.path().join("replica"));
        let refused = folder.put("../escape", Body::Bytes(Bytes::new()), &meta(0)).await.unwrap_err();
        assert!(matches!(refused.kind, Kind::Malformed(_)), "{refused}");
        assert!(!scratch.path().join("escape").exists());
        folder.put("a", Body::Bytes(Bytes::new()), &meta(0)).await.unwrap();
        fs::write(folder.root().join(".tmp-b"), "half").unwrap();
        assert_eq!(folder.list("").await.unwrap().len(), 1);
    }
}
