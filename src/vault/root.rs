//! The root key file: 32 random bytes outside of the data folder, for its owner alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::{Code, Error, Result};
use crate::secret::Key;

const LENGTH: usize = 32;

/// What every other key derives from.
pub struct Root(Key);

impl Root {
    /// Reads the key file, or makes one if there is none yet.
    pub fn load_or_create(path: &Path, data: &Path) -> Result<Root> {
        if lies_within(path, data) {
            return Err(Error::new(
                Code::Unconfigured,
                format_args!("the root key {} lies in the data folder, and so in every copy of it", path.display()),
            )
            .with_hint("name a file elsewhere with --root-key"));
        }
        match open(path) {
            Ok(file) => read(file, path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => create(path),
            Err(error) => Err(cannot_read(path, error)),
        }
    }

    /// HKDF-SHA256 (RFC 5869) without salt, as the root is uniformly random; `purpose` names the key in the info.
    pub fn derive(&self, purpose: &str) -> Key {
        let mut bytes = Zeroizing::new([0; LENGTH]);
        let info = format!("hearth/v1/{purpose}");
        Hkdf::<Sha256>::new(None, self.0.expose())
            .expand(info.as_bytes(), bytes.as_mut())
            .expect("32 bytes are within what HKDF gives");
        Key::new(*bytes)
    }
}

/// `~/.config/hearth/root.key`, or where `$XDG_CONFIG_HOME` says.
pub fn default_path() -> Option<PathBuf> {
    let config = match std::env::var_os("XDG_CONFIG_HOME") {
        Some(folder) if !folder.is_empty() => PathBuf::from(folder),
        _ => std::env::home_dir()?.join(".config"),
    };
    Some(config.join("hearth/root.key"))
}

fn open(path: &Path) -> io::Result<File> {
    // A link could point the reader at another's file, or the writer at one it should not touch.
    OpenOptions::new().read(true).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed()).open(path)
}

fn read(mut file: File, path: &Path) -> Result<Root> {
    let meta = file.metadata().map_err(|error| cannot_read(path, error))?;
    let refuse = |what: &str, hint: String| {
        Err(Error::new(Code::Unconfigured, format_args!("the root key {} {what}", path.display())).with_hint(hint))
    };
    let me = rustix::process::geteuid().as_raw();
    if !meta.is_file() {
        return refuse("is not a plain file", "name the key file itself with --root-key".to_owned());
    }
    if meta.uid() != me && meta.uid() != 0 {
        return refuse("belongs to another user", format!("chown it to uid {me}"));
    }
    if meta.mode() & 0o077 != 0 {
        return refuse("can be read by others", format!("chmod 600 {}", path.display()));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(LENGTH + 1));
    let read = Read::by_ref(&mut file).take(LENGTH as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| cannot_read(path, error))?;
    match <[u8; LENGTH]>::try_from(bytes.as_slice()) {
        Ok(key) => Ok(Root(Key::new(key))),
        Err(_) => refuse("does not hold 32 bytes", "restore it from your recovery kit".to_owned()),
    }
}

fn create(path: &Path) -> Result<Root> {
    let mut key = Zeroizing::new([0; LENGTH]);
    getrandom::fill(key.as_mut()).map_err(|error| Error::internal(error.to_string()))?;
    write_new(path, key.as_ref()).map_err(|error| {
        Error::new(Code::Unconfigured, format_args!("cannot make the root key {}: {error}", path.display()))
            .with_hint("name a file that you can write with --root-key")
    })?;
    Ok(Root(Key::new(*key)))
}

/// Written beside and linked into place, so that no half key can ever be read.
fn write_new(path: &Path, key: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let beside = path.with_extension(format!("new-{}", std::process::id()));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(key)?;
        file.sync_all()?;
        fs::hard_link(&beside, path)?;
        File::open(folder)?.sync_all()
    })();
    let removed = fs::remove_file(&beside);
    written.and(removed)
}

fn cannot_read(path: &Path, error: io::Error) -> Error {
    Error::new(Code::Unconfigured, format_args!("cannot read the root key {}: {error}", path.display()))
        .with_hint("name the key file with --root-key")
}

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

    fn folders() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let (key, data) = (dir.path().join("conf/root.key"), dir.path().join("data"));
        (dir, key, data)
    }

    #[test]
    fn a_key_is_made_once_and_read_again() {
        let (_dir, key, data) = folders();
        let made = Root::load_or_create(&key, &data).unwrap().derive("audit");
        assert_eq!(fs::metadata(&key).unwrap().mode() & 0o777, 0o600);
        let read = Root::load_or_create(&key, &data).unwrap();
        assert_eq!(made.expose(), read.derive("audit").expose());
        assert_ne!(made.expose(), read.derive("token").expose());
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let (_dir, key, data) = folders();
        Root::load_or_create(&key, &data).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        let error = Root::load_or_create(&key, &data).err().unwrap();
        assert_eq!(error.code, Code::Unconfigured);
        assert!(error.hint().unwrap().starts_with("chmod 600"));
    }

    #[test]
    fn a_key_in_the_data_folder_a_link_and_a_short_key_are_refused() {
        let (dir, key, data) = folders();
        assert!(Root::load_or_create(&data.join("root.key"), &data).is_err());
        Root::load_or_create(&key, &data).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&key, &link).unwrap();
        assert!(Root::load_or_create(&link, &data).is_err());
        fs::write(&key, "short").unwrap();
        assert!(Root::load_or_create(&key, &data).err().unwrap().message.contains("32 bytes"));
    }

    /// RFC 5869, A.3: SHA-256 with neither salt nor info.
    #[test]
    fn hkdf_is_the_one_of_the_rfc() {
        let mut okm = [0; 42];
        Hkdf::<Sha256>::new(None, &[0x0b; 22]).expand(b"", &mut okm).unwrap();
        assert_eq!(
            crate::id::encode_hex(&okm),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
        );
    }
}
