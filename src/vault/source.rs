//! Where the root key comes from: a credential of systemd or a file, plain or under a passphrase.
//!
//! Never from the environment or the arguments, which other processes read. Beside `FILE` lie,
//! in a rotation, `FILE.next`, and after one, `FILE.<key id>`: older replicas and copies of the
//! database open with the older key only.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::passphrase::Closed;
use super::root::{KeyId, LENGTH, Root, Service};
use crate::error::{Code, Error, Result};
use crate::secret::{Key, Secret};

/// The most of a sealed key file.
const FILE_BYTES: usize = 4096;
/// What systemd calls the credential, as in `LoadCredentialEncrypted=root-key`.
const CREDENTIAL: &str = "root-key";

/// A root key as its file holds it.
#[derive(Clone)]
pub enum Stored {
    Open(Root),
    Closed(Closed),
}

/// The file of the root key, and those beside it.
#[derive(Clone, Debug)]
pub struct KeyFile {
    path: PathBuf,
    /// systemd keeps the file and makes it anew at every start
    is_credential: bool,
}

impl Stored {
    pub fn id(&self) -> KeyId {
        self.service().id
    }

    pub fn service(&self) -> Service {
        match self {
            Stored::Open(root) => root.service(),
            Stored::Closed(closed) => closed.service.clone(),
        }
    }

    /// The key as a file holds it from now on: plain, or under the passphrase.
    pub fn new(root: Root, passphrase: Option<&Secret>) -> Result<Stored> {
        match passphrase {
            None => Ok(Stored::Open(root)),
            Some(passphrase) => Closed::close(&root, passphrase).map(Stored::Closed),
        }
    }

    fn to_file(&self) -> Result<Zeroizing<Vec<u8>>> {
        Ok(Zeroizing::new(match self {
            Stored::Open(root) => root.key().expose().to_vec(),
            Stored::Closed(closed) => closed.to_file()?,
        }))
    }
}

impl KeyFile {
    pub fn at(path: &Path, data: &Path) -> Result<KeyFile> {
        if lies_within(path, data) {
            return Err(Error::new(
                Code::Unconfigured,
                format_args!("the root key {} lies in the data folder, and so in every copy of it", path.display()),
            )
            .with_hint("name a file elsewhere with --root-key"));
        }
        let is_credential = credentials_folder().is_some_and(|folder| path.parent() == Some(&folder));
        Ok(KeyFile { path: path.to_owned(), is_credential })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn is_credential(&self) -> bool {
        self.is_credential
    }

    pub fn read(&self) -> Result<Option<Stored>> {
        self.read_file(&self.path)
    }

    /// The key that a rotation goes to.
    pub fn read_next(&self) -> Result<Option<Stored>> {
        self.read_file(&self.next())
    }

    pub fn create(&self, key: &Stored) -> Result<()> {
        self.create_file(&self.path, key)
    }

    pub fn create_next(&self, key: &Stored) -> Result<()> {
        if self.is_credential {
            return Err(Error::new(
                Code::Unconfigured,
                "the root key is a credential of systemd, which hearth cannot make",
            )
            .with_hint(format_args!(
                "make a second one of 32 random bytes with `systemd-creds encrypt`, load it as `{CREDENTIAL}.next`, \
                 restart, and rotate again"
            )));
        }
        self.create_file(&self.next(), key)
    }

    /// Puts the next key into the place of the old one, which stays under its name. May be repeated
    /// after a crash at any point.
    pub fn adopt_next(&self, old: KeyId) -> Result<()> {
        if self.is_credential {
            return Ok(());
        }
        let moved = (|| {
            match fs::hard_link(&self.path, self.beside(&old.to_string())) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            fs::rename(self.next(), &self.path)?;
            File::open(folder_of(&self.path))?.sync_all()
        })();
        moved.map_err(|error| cannot_make(&self.path, &error))
    }

    /// Writes the same key in another form: with or without a passphrase.
    pub fn replace(&self, key: &Stored) -> Result<()> {
        if self.is_credential {
            return Err(Error::new(
                Code::Unconfigured,
                "the root key is a credential of systemd, which seals it itself",
            ));
        }
        let beside = self.beside("new");
        let bytes = key.to_file()?;
        let written = (|| {
            remove_if_there(&beside)?;
            write_file(&beside, &bytes)?;
            fs::rename(&beside, &self.path)?;
            File::open(folder_of(&self.path))?.sync_all()
        })();
        written.map_err(|error| cannot_make(&self.path, &error))
    }

    pub fn remove(&self) -> Result<()> {
        fs::remove_file(&self.path).map_err(|error| cannot_make(&self.path, &error))
    }

    fn next(&self) -> PathBuf {
        self.beside("next")
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".");
        name.push(suffix);
        PathBuf::from(name)
    }

    fn read_file(&self, path: &Path) -> Result<Option<Stored>> {
        let mut file = match open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(cannot_read(path, error)),
        };
        self.check(&file, path)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES + 1));
        let read = Read::by_ref(&mut file).take(FILE_BYTES as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|error| cannot_read(path, error))?;
        if let Ok(key) = <[u8; LENGTH]>::try_from(bytes.as_slice()) {
            return Ok(Some(Stored::Open(Root::new(Key::new(key)))));
        }
        match Closed::from_file(&bytes) {
            Some(closed) => Ok(Some(Stored::Closed(closed))),
            None => Err(refusal(path, "does not hold 32 bytes, nor a key under a passphrase")
                .with_hint("move it away, then restore it from your recovery kit with `hearth key restore`")),
        }
    }

    /// Whether the file is one that others could not have read or exchanged.
    fn check(&self, file: &File, path: &Path) -> Result<()> {
        let meta = file.metadata().map_err(|error| cannot_read(path, error))?;
        let me = rustix::process::geteuid().as_raw();
        // systemd lets the service read by an access list, whose mask shows as the group's bits.
        let forbidden = if self.is_credential { 0o037 } else { 0o077 };
        if !meta.is_file() {
            return Err(refusal(path, "is not a plain file").with_hint("name the key file itself with --root-key"));
        }
        if meta.uid() != me && meta.uid() != 0 {
            return Err(refusal(path, "belongs to another user").with_hint(format_args!("chown it to uid {me}")));
        }
        if meta.mode() & forbidden != 0 {
            return Err(refusal(path, "can be read by others").with_hint(format_args!("chmod 600 {}", path.display())));
        }
        Ok(())
    }

    fn create_file(&self, path: &Path, key: &Stored) -> Result<()> {
        write_new(path, &key.to_file()?).map_err(|error| cannot_make(path, &error))
    }
}

/// What systemd loaded for us, if it loaded one.
pub fn credential() -> Option<PathBuf> {
    credentials_folder().map(|folder| folder.join(CREDENTIAL)).filter(|path| path.exists())
}

/// `~/.config/hearth/root.key`, or where `$XDG_CONFIG_HOME` says.
pub fn default_path() -> Option<PathBuf> {
    let config = match std::env::var_os("XDG_CONFIG_HOME") {
        Some(folder) if !folder.is_empty() => PathBuf::from(folder),
        _ => std::env::home_dir()?.join(".config"),
    };
    Some(config.join("hearth/root.key"))
}

fn credentials_folder() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").filter(|folder| !folder.is_empty()).map(PathBuf::from)
}

fn open(path: &Path) -> io::Result<File> {
    // A link could point the reader at another's file, or the writer at one it should not touch.
    OpenOptions::new().read(true).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed()).open(path)
}

/// Written beside and linked into place, so that no half key can ever be read.
fn write_new(path: &Path, key: &[u8]) -> io::Result<()> {
    let folder = folder_of(path);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".new-{}", std::process::id()));
    let beside = PathBuf::from(beside);
    remove_if_there(&beside)?;
    let written = (|| {
        write_file(&beside, key)?;
        fs::hard_link(&beside, path)?;
        File::open(folder)?.sync_all()
    })();
    let removed = fs::remove_file(&beside);
    written.and(removed)
}

fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn refusal(path: &Path, what: &str) -> Error {
    Error::new(Code::Unconfigured, format_args!("the root key {} {what}", path.display()))
}

fn cannot_make(path: &Path, error: &io::Error) -> Error {
    refusal(path, &format!("cannot be written: {error}")).with_hint("name a file that you can write with --root-key")
}

fn cannot_read(path: &Path, error: io::Error) -> Error {
    refusal(path, &format!("cannot be read: {error}")).with_hint("name the key file with --root-key")
}

/// Whether the path, or the folder that it is to be made in, is inside of `folder`.
fn lies_within(path: &Path, folder: &Path) -> bool {
    let resolve = |path: &Path| fs::canonicalize(path).or_else(|_| std::path::absolute(path));
    match (resolve(path), resolve(folder)) {
        (Ok(path), Ok(folder)) => path.starts_with(folder),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn place() -> (tempfile::TempDir, KeyFile) {
        let dir = tempfile::tempdir().unwrap();
        let file = KeyFile::at(&dir.path().join("conf/root.key"), &dir.path().join("data")).unwrap();
        (dir, file)
    }

    fn made(file: &KeyFile) -> KeyId {
        let key = Stored::Open(Root::generate().unwrap());
        file.create(&key).unwrap();
        key.id()
    }

    #[test]
    fn a_key_is_made_once_and_read_again() {
        let (_dir, file) = place();
        assert!(file.read().unwrap().is_none());
        let id = made(&file);
        assert_eq!(fs::metadata(file.path()).unwrap().mode() & 0o777, 0o600);
        assert_eq!(file.read().unwrap().unwrap().id(), id);
        assert!(file.create(&Stored::Open(Root::generate().unwrap())).is_err());
        assert_eq!(file.read().unwrap().unwrap().id(), id);
        assert_eq!(fs::read_dir(file.path().parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let (_dir, file) = place();
        made(&file);
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
        let error = file.read().err().unwrap();
        assert_eq!(error.code, Code::Unconfigured);
        assert!(error.hint().unwrap().starts_with("chmod 600"));
    }

    #[test]
    fn a_key_in_the_data_folder_a_link_and_a_short_key_are_refused() {
        let (dir, file) = place();
        let data = dir.path().join("data");
        assert!(KeyFile::at(&data.join("root.key"), &data).is_err());
        made(&file);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(file.path(), &link).unwrap();
        assert!(KeyFile::at(&link, &data).unwrap().read().is_err());
        fs::write(file.path(), "short").unwrap();
        assert!(file.read().err().unwrap().message.contains("32 bytes"));
    }

    #[test]
    fn the_next_key_takes_the_place_of_the_old_one_however_often_it_is_tried() {
        let (_dir, file) = place();
        let old = made(&file);
        let next = Stored::Open(Root::generate().unwrap());
        file.create_next(&next).unwrap();
        // A crash between the link and the rename leaves the link.
        fs::hard_link(file.path(), file.beside(&old.to_string())).unwrap();
        file.adopt_next(old).unwrap();
        assert_eq!(file.read().unwrap().unwrap().id(), next.id());
        assert!(file.read_next().unwrap().is_none());
        assert_eq!(file.read_file(&file.beside(&old.to_string())).unwrap().unwrap().id(), old);
    }
}
