//! The appliance's own keys: random, and wrapped in the file under what derives from the root key.
//!
//! They do not derive from the root key themselves: a rotation would break the audit chain at
//! its first row and forget every token. Wrapped, they outlive any number of root keys.

use zeroize::Zeroizing;

use super::envelope::{decrypt, encrypt, random};
use super::root::{Service, derive};
use crate::error::Result;
use crate::secret::Key;

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Audit,
    Token,
    State,
    Digest,
}

impl Purpose {
    pub const ALL: [Purpose; 4] = [Purpose::Audit, Purpose::Token, Purpose::State, Purpose::Digest];

    pub const fn word(self) -> &'static str {
        match self {
            Purpose::Audit => "audit",
            Purpose::Token => "token",
            Purpose::State => "state",
            Purpose::Digest => "digest",
        }
    }
}

/// A new key for one purpose.
pub fn generate() -> Result<Key> {
    let mut bytes = Zeroizing::new([0; 32]);
    random(bytes.as_mut())?;
    Ok(Key::new(*bytes))
}

impl Service {
    pub fn wrap(&self, purpose: Purpose, key: &Key) -> Result<Vec<u8>> {
        encrypt(&self.wrapping(), &aad(purpose), key.expose())
    }

    pub fn unwrap(&self, purpose: Purpose, wrapped: &[u8]) -> Option<Key> {
        let key = decrypt(&self.wrapping(), &aad(purpose), wrapped)?;
        Some(Key::new(key.as_slice().try_into().ok()?))
    }

    fn wrapping(&self) -> Key {
        derive(&self.key, &format!("service-kek/{}", self.id))
    }
}

fn aad(purpose: Purpose) -> Vec<u8> {
    [b"hearth/service/v1/", purpose.word().as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::super::root::Root;
    use super::*;

    #[test]
    fn a_key_opens_for_its_purpose_and_under_its_root_only() {
        let (service, other) = (Root::generate().unwrap().service(), Root::generate().unwrap().service());
        let key = generate().unwrap();
        let wrapped = service.wrap(Purpose::Audit, &key).unwrap();
        assert_eq!(service.unwrap(Purpose::Audit, &wrapped).unwrap().expose(), key.expose());
        assert!(service.unwrap(Purpose::Token, &wrapped).is_none());
        assert!(other.unwrap(Purpose::Audit, &wrapped).is_none());
    }
}
