//! A root key under a passphrase: the key file of the sealed mode.
//!
//! ```text
//!   { "format": "hearth sealed root key 1", "key_id", "service": S, "memory_kib", "passes", "lanes",
//!     "salt", "wrapped": nonce [24] | XChaCha20-Poly1305(Argon2id(passphrase, salt), R, AAD of the rest) }
//! ```
//!
//! The service root S stands in the clear, so that the appliance starts without anybody at the
//! keyboard: its audit chain, tokens and sessions work, its credentials do not. Who steals the
//! file can forge what those keys protect, as with a plain key file, but opens no credential.

use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::envelope::{decrypt, encrypt, random};
use super::root::{KeyId, LENGTH, Root, Service};
use crate::error::{Code, Error, Result};
use crate::id::encode_hex;
use crate::secret::{Key, Secret};

const FORMAT: &str = "hearth sealed root key 1";
pub const PASSPHRASE_CHARS_MIN: usize = 12;
/// What Argon2id takes for a new seal: half a second of this machine and 64 MiB of its memory.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 4;
/// What a file may ask for: more is an attack on memory and patience.
const MEMORY_KIB_MAX: u32 = 1024 * 1024;
const PASSES_MAX: u32 = 16;

/// A root key that is closed until its passphrase comes.
#[derive(Clone)]
pub struct Closed {
    pub service: Service,
    salt: [u8; 16],
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    wrapped: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    key_id: String,
    service: String,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: String,
    wrapped: String,
}

impl Closed {
    pub fn close(root: &Root, passphrase: &Secret) -> Result<Closed> {
        check(passphrase)?;
        let mut salt = [0; 16];
        random(&mut salt)?;
        let mut closed = Closed {
            service: root.service(),
            salt,
            memory_kib: MEMORY_KIB,
            passes: PASSES,
            lanes: LANES,
            wrapped: Vec::new(),
        };
        closed.wrapped = encrypt(&closed.stretch(passphrase)?, &closed.aad(), root.key().expose())?;
        Ok(closed)
    }

    /// `None` if the passphrase is another one. Takes its time: call it off the async threads.
    pub fn open(&self, passphrase: &Secret) -> Result<Option<Root>> {
        let Some(bytes) = decrypt(&self.stretch(passphrase)?, &self.aad(), &self.wrapped) else { return Ok(None) };
        let Ok(bytes) = <[u8; LENGTH]>::try_from(bytes.as_slice()) else { return Ok(None) };
        let root = Root::new(Key::new(bytes));
        Ok((root.id() == self.service.id && root.service().key.expose() == self.service.key.expose()).then_some(root))
    }

    pub fn to_file(&self) -> Result<Vec<u8>> {
        let file = File {
            format: FORMAT.to_owned(),
            key_id: self.service.id.to_string(),
            service: encode_hex(self.service.key.expose()),
            memory_kib: self.memory_kib,
            passes: self.passes,
            lanes: self.lanes,
            salt: encode_hex(&self.salt),
            wrapped: encode_hex(&self.wrapped),
        };
        let mut bytes = serde_json::to_vec_pretty(&file).map_err(Error::internal)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// `None` if the bytes are no such file, or one that asks for too much.
    pub fn from_file(bytes: &[u8]) -> Option<Closed> {
        let file: File = serde_json::from_slice(bytes).ok()?;
        let is_sane = file.format == FORMAT && file.memory_kib <= MEMORY_KIB_MAX && file.passes <= PASSES_MAX;
        let service: [u8; 32] = decode_hex(&file.service)?.try_into().ok()?;
        is_sane.then_some(())?;
        Some(Closed {
            service: Service { id: KeyId::parse(&file.key_id)?, key: Key::new(service) },
            salt: decode_hex(&file.salt)?.try_into().ok()?,
            memory_kib: file.memory_kib,
            passes: file.passes,
            lanes: file.lanes,
            wrapped: decode_hex(&file.wrapped)?,
        })
    }

    /// With the cheapest derivation, and opened by nothing.
    #[cfg(test)]
    pub(super) fn hurried(&self) -> Closed {
        Closed { memory_kib: 8 * LANES, passes: 1, ..self.clone() }
    }

    fn stretch(&self, passphrase: &Secret) -> Result<Key> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).map_err(|_| {
            Error::new(Code::Unconfigured, "the sealed key file asks for a key derivation that there is not")
        })?;
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.expose(), &self.salt, key.as_mut())
            .map_err(|error| Error::internal(error.to_string()))?;
        Ok(Key::new(*key))
    }

    fn aad(&self) -> Vec<u8> {
        let mut aad = [FORMAT.as_bytes(), self.service.id.bytes(), self.service.key.expose(), &self.salt].concat();
        for number in [self.memory_kib, self.passes, self.lanes] {
            aad.extend(number.to_be_bytes());
        }
        aad
    }
}

/// Refuses a passphrase that is guessed soon, without repeating it.
pub fn check(passphrase: &Secret) -> Result<()> {
    let text =
        std::str::from_utf8(passphrase.expose()).map_err(|_| Error::invalid("passphrase", "must be text in UTF-8"))?;
    if text.chars().count() < PASSPHRASE_CHARS_MIN {
        return Err(Error::invalid("passphrase", format_args!("must have at least {PASSPHRASE_CHARS_MIN} characters")));
    }
    Ok(())
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase(text: &str) -> Secret {
        Secret::copied(text.as_bytes())
    }

    #[test]
    fn a_closed_key_opens_with_its_passphrase_only() {
        let root = Root::generate().unwrap();
        let mut closed = Closed::close(&root, &passphrase("correct horse battery")).unwrap();
        let read = Closed::from_file(&closed.to_file().unwrap()).unwrap();
        assert_eq!(read.service.id, root.id());
        assert_eq!(read.open(&passphrase("correct horse battery")).unwrap().unwrap().id(), root.id());
        assert!(read.open(&passphrase("correct horse batterx")).unwrap().is_none());
        // A service root that was exchanged would have the appliance use another's keys.
        closed.service.key = Key::new([9; 32]);
        assert!(closed.open(&passphrase("correct horse battery")).unwrap().is_none());
    }

    #[test]
    fn files_that_ask_for_too_much_or_are_none_are_refused() {
        let closed = Closed {
            service: Root::generate().unwrap().service(),
            salt: [1; 16],
            memory_kib: MEMORY_KIB_MAX + 1,
            passes: 1,
            lanes: 1,
            wrapped: vec![1; 72],
        };
        assert!(Closed::from_file(&closed.to_file().unwrap()).is_none());
        assert!(Closed::from_file(&[7; 32]).is_none());
        let error = check(&passphrase("short")).err().unwrap();
        assert!(error.message.contains("12 characters") && !error.message.contains("short"));
    }
}
