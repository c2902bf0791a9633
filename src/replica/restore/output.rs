//! The file that a restore writes: under another name until it is whole, sound and on disk.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use rustix::fs::{CWD, RenameFlags};

use super::Error;

pub(super) struct Temporary {
    file: File,
    path: PathBuf,
}

/// An old log beside a new database would be played into it.
const BESIDE: [&str; 4] = ["", "-wal", "-shm", "-journal"];

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

pub(super) fn refuse_existing(output: &Path) -> Result<(), Error> {
    for path in BESIDE.map(|suffix| beside(output, suffix)) {
        if path.symlink_metadata().is_ok() {
            return Err(Error::Exists { path });
        }
    }
    Ok(())
}

impl Temporary {
    /// In the folder of `output`, so that a rename will do.
    pub fn create(output: &Path) -> Result<Temporary, Error> {
        let path = beside(output, &format!(".restoring-{}", crate::id::call_id()));
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        match opened {
            Ok(file) => Ok(Temporary { file, path }),
            Err(source) => Err(Error::Output { path, what: "made", source }),
        }
    }

    fn failed(&self, what: &'static str) -> impl Fn(io::Error) -> Error {
        let path = self.path.clone();
        move |source| Error::Output { path: path.clone(), what, source }
    }

    pub fn set_len(&self, bytes: u64) -> Result<(), Error> {
        self.file.set_len(bytes).map_err(self.failed("made that large"))
    }

    pub fn write_at(&self, at: u64, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all_at(bytes, at).map_err(self.failed("written"))
    }

    /// Syncs it, and lets SQLite look at every page.
    pub fn check(&self) -> Result<(), Error> {
        self.file.sync_all().map_err(self.failed("synced"))?;
        let unsound = |error: rusqlite::Error| Error::Unsound(error.to_string());
        let path = std::path::absolute(&self.path).map_err(self.failed("found"))?;
        let address =
            url::Url::from_file_path(&path).map_err(|()| Error::Unsound("its path is no address".to_owned()))?;
        // Immutable: SQLite then makes no log beside it.
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(format!("{address}?immutable=1"), flags).map_err(unsound)?;
        let verdict: String = db.query_row("pragma integrity_check(1)", [], |row| row.get(0)).map_err(unsound)?;
        if verdict == "ok" { Ok(()) } else { Err(Error::Unsound(verdict)) }
    }

    /// Gives it its name, unless that is taken by now.
    pub fn keep(self, output: &Path) -> Result<(), Error> {
        refuse_existing(output)?;
        let renamed = match rustix::fs::renameat_with(CWD, &self.path, CWD, output, RenameFlags::NOREPLACE) {
            // Not every file system can rename so; a link does not replace either.
            Err(rustix::io::Errno::INVAL) => std::fs::hard_link(&self.path, output),
            other => other.map_err(io::Error::from),
        };
        match renamed {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Error::Exists { path: output.to_owned() });
            }
            other => other.map_err(self.failed("given its name"))?,
        }
        let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(self.failed("synced with its folder"))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename it is not there any more.
        let _ = std::fs::remove_file(&self.path);
    }
}
