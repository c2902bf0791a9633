//! The root key, 32 random bytes, and the keys that derive from it.
//!
//! ```text
//!   R --HKDF-SHA256--> key id             names it, in every blob that hangs on it
//!                      kek                wraps the data keys of credentials
//!                      probe              seals a constant, to tell a wrong key
//!                      service root S     wraps the appliance's own keys (see `service`)
//! ```

use std::fmt;

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::envelope::{decrypt, encrypt, random};
use crate::error::Result;
use crate::id::encode_hex;
use crate::secret::Key;

pub(super) const LENGTH: usize = 32;
const PROBE: &[u8] = b"hearth root key probe";

/// Names a root key and tells nothing about it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId([u8; KeyId::BYTES]);

/// Wraps the data keys of credentials.
pub struct Kek {
    pub id: KeyId,
    pub key: Key,
}

/// What every other key derives from, or is wrapped under.
#[derive(Clone)]
pub struct Root {
    id: KeyId,
    key: Key,
}

/// What wraps the appliance's own keys: derived from the root, and the root is not to be had from it.
#[derive(Clone)]
pub struct Service {
    pub id: KeyId,
    pub(super) key: Key,
}

impl KeyId {
    pub const BYTES: usize = 8;

    pub fn from_bytes(bytes: &[u8]) -> Option<KeyId> {
        bytes.try_into().ok().map(KeyId)
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// From its 16 hexadecimal digits.
    pub fn parse(text: &str) -> Option<KeyId> {
        let is_hex = text.len() == 2 * KeyId::BYTES && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let number = is_hex.then(|| u64::from_str_radix(text, 16).ok()).flatten()?;
        Some(KeyId(number.to_be_bytes()))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode_hex(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Root {
    pub fn new(key: Key) -> Root {
        let id = derive(&key, "key-id");
        let id = KeyId::from_bytes(&id.expose()[..KeyId::BYTES]).expect("a key is longer than its name");
        Root { id, key }
    }

    pub fn generate() -> Result<Root> {
        let mut bytes = Zeroizing::new([0; LENGTH]);
        random(bytes.as_mut())?;
        Ok(Root::new(Key::new(*bytes)))
    }

    pub fn id(&self) -> KeyId {
        self.id
    }

    pub fn kek(&self) -> Kek {
        Kek { id: self.id, key: derive(&self.key, &format!("kek/{}", self.id)) }
    }

    pub fn service(&self) -> Service {
        Service { id: self.id, key: derive(&self.key, "service") }
    }

    /// A constant, sealed: whoever opens it holds this key.
    pub fn probe(&self) -> Result<Vec<u8>> {
        encrypt(&derive(&self.key, "probe"), self.id.bytes(), PROBE)
    }

    pub fn opens_probe(&self, probe: &[u8]) -> bool {
        decrypt(&derive(&self.key, "probe"), self.id.bytes(), probe).is_some_and(|plain| plain.as_slice() == PROBE)
    }

    /// The key itself: for its file, its seal and the kit.
    pub(super) fn key(&self) -> &Key {
        &self.key
    }
}

/// HKDF-SHA256 (RFC 5869) without salt, as the root is uniformly random; `purpose` names the key in the info.
pub(super) fn derive(key: &Key, purpose: &str) -> Key {
    let mut bytes = Zeroizing::new([0; LENGTH]);
    let info = format!("hearth/v1/{purpose}");
    Hkdf::<Sha256>::new(None, key.expose())
        .expand(info.as_bytes(), bytes.as_mut())
        .expect("32 bytes are within what HKDF gives");
    Key::new(*bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_has_a_name_and_a_key_for_each_purpose() {
        let (root, other) = (Root::new(Key::new([1; 32])), Root::new(Key::new([2; 32])));
        assert_ne!(root.id(), other.id());
        assert_eq!(KeyId::parse(&root.id().to_string()), Some(root.id()));
        assert_ne!(root.kek().key.expose(), root.service().key.expose());
        assert_ne!(root.kek().key.expose(), root.key().expose());
        for wrong in ["", "+234567812345678", "123456781234567", "12345678123456789", "xyz45678xyz45678"] {
            assert_eq!(KeyId::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_the_key_itself_opens_its_probe() {
        let (root, other) = (Root::new(Key::new([1; 32])), Root::new(Key::new([2; 32])));
        let probe = root.probe().unwrap();
        assert!(root.opens_probe(&probe) && !other.opens_probe(&probe));
    }

    /// RFC 5869, A.3: SHA-256 with neither salt nor info.
    #[test]
    fn hkdf_is_the_one_of_the_rfc() {
        let mut okm = [0; 42];
        Hkdf::<Sha256>::new(None, &[0x0b; 22]).expand(b"", &mut okm).unwrap();
        assert_eq!(
            encode_hex(&okm),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
        );
    }
}
