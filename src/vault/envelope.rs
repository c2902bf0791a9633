//! The envelope: each version of a secret under a key of its own, and that key under the root key.
//!
//! ```text
//!   wrapped = 0x01 | key id [8] | nonce [24] | XChaCha20-Poly1305(KEK, DEK [32], AAD "dek")
//!   value   = 0x01 |              nonce [24] | XChaCha20-Poly1305(DEK, padded secret, AAD "value")
//!   AAD     = "hearth/cred/v1" | each behind its length: purpose, table, credential, field
//!             | version u64 BE | digest of the policy [32]
//! ```
//!
//! The AAD names the place, so that a blob opens nowhere else: not in another row or column, not
//! as another version, not under an edited policy. Lengths stand before the texts, as ("ab", "c")
//! would read like ("a", "bc") otherwise. Nonces are random, which 192 bits allow, and so there
//! is no counter that a restored copy of the file could set back.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use super::padding::{self, SECRET_BYTES_MAX};
use super::policy::Policy;
use super::root::{Kek, KeyId};
use crate::error::{Code, Error, Result};
use crate::secret::{Key, Secret};

const FORMAT: u8 = 1;
const TABLE: &str = "credential_versions";
const FIELD: &str = "secret";
const NONCE: usize = 24;
const TAG: usize = 16;
const KEY_ID_AT: usize = 1;
const NONCE_AT: usize = KEY_ID_AT + KeyId::BYTES;
const WRAPPED_BYTES: usize = NONCE_AT + NONCE + 32 + TAG;

/// The place that a sealed secret is good for.
#[derive(Clone, Copy)]
pub struct Binding<'a> {
    /// An identifier that is never used again, unlike a row's number
    pub credential_id: &'a str,
    pub version: u64,
    pub policy: &'a Policy,
}

/// A secret as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The root key that it hangs on
    pub key_id: KeyId,
    /// The data key, wrapped
    pub wrapped: Vec<u8>,
    pub value: Vec<u8>,
}

pub fn seal(kek: &Kek, binding: &Binding<'_>, secret: &Secret) -> Result<Sealed> {
    let padded = padding::pad(secret)
        .ok_or_else(|| Error::new(Code::TooLarge, format_args!("the secret has more than {SECRET_BYTES_MAX} bytes")))?;
    let mut bytes = Zeroizing::new([0; 32]);
    random(bytes.as_mut())?;
    let dek = Key::new(*bytes);
    let value = [&[FORMAT][..], &encrypt(&dek, &binding.aad("value"), &padded)?].concat();
    Ok(Sealed { key_id: kek.id, wrapped: wrap(kek, binding, &dek)?, value })
}

pub fn open(kek: &Kek, binding: &Binding<'_>, sealed: &Sealed) -> Result<Secret> {
    let dek = unwrap(kek, binding, &sealed.wrapped).ok_or_else(broken)?;
    let Some((&FORMAT, value)) = sealed.value.split_first() else { return Err(broken()) };
    let padded = decrypt(&dek, &binding.aad("value"), value).ok_or_else(broken)?;
    padding::unpad(&padded).ok_or_else(broken)
}

/// The same data key under another root key; the value stays as it is.
pub fn rewrap(from: &Kek, to: &Kek, binding: &Binding<'_>, wrapped: &[u8]) -> Result<Vec<u8>> {
    let dek = unwrap(from, binding, wrapped).ok_or_else(broken)?;
    wrap(to, binding, &dek)
}

/// Which root key a wrapped key says that it hangs on.
pub fn key_id(wrapped: &[u8]) -> Option<KeyId> {
    (wrapped.len() == WRAPPED_BYTES && wrapped[0] == FORMAT)
        .then(|| KeyId::from_bytes(&wrapped[KEY_ID_AT..NONCE_AT]))
        .flatten()
}

fn wrap(kek: &Kek, binding: &Binding<'_>, dek: &Key) -> Result<Vec<u8>> {
    let wrapped = encrypt(&kek.key, &binding.aad("dek"), dek.expose())?;
    Ok([&[FORMAT][..], kek.id.bytes(), &wrapped].concat())
}

fn unwrap(kek: &Kek, binding: &Binding<'_>, wrapped: &[u8]) -> Option<Key> {
    if key_id(wrapped)? != kek.id {
        return None;
    }
    let dek = decrypt(&kek.key, &binding.aad("dek"), &wrapped[NONCE_AT..])?;
    Some(Key::new(dek.as_slice().try_into().ok()?))
}

impl Binding<'_> {
    fn aad(&self, purpose: &str) -> Vec<u8> {
        let mut aad = b"hearth/cred/v1".to_vec();
        for text in [purpose, TABLE, self.credential_id, FIELD] {
            aad.extend((text.len() as u32).to_be_bytes());
            aad.extend(text.as_bytes());
        }
        aad.extend(self.version.to_be_bytes());
        aad.extend(self.policy.digest());
        aad
    }
}

/// A nonce and what it encrypts: `nonce [24] | ciphertext | tag [16]`.
pub(super) fn encrypt(key: &Key, aad: &[u8], plain: &[u8]) -> Result<Vec<u8>> {
    let mut nonce = [0; NONCE];
    random(&mut nonce)?;
    let sealed = cipher(key)
        .encrypt(&XNonce::from(nonce), Payload { msg: plain, aad })
        .map_err(|_| Error::internal("a text longer than the cipher takes"))?;
    Ok([&nonce[..], &sealed].concat())
}

pub(super) fn decrypt(key: &Key, aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE>()?;
    let plain = cipher(key).decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad }).ok()?;
    Some(Zeroizing::new(plain))
}

fn cipher(key: &Key) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.expose().into())
}

pub(super) fn random(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|error| Error::internal(error.to_string()))
}

fn broken() -> Error {
    Error::new(Code::Integrity, "the sealed secret does not open: it, its place or its policy is not what was written")
        .with_hint("put the secret again; if nobody has edited the database file, look at the disk")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    /// draft-irtf-cfrg-xchacha-03, A.3.1.
    #[test]
    fn xchacha20_poly1305_is_the_one_of_the_draft() {
        let plain = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, \
                      sunscreen would be it.";
        let key = Key::new(std::array::from_fn(|at| 0x80 + at as u8));
        let nonce: Vec<u8> = (0x40..0x58).collect();
        let sealed = hex(concat!(
            "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb",
            "731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452",
            "2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9",
            "21f9664c97637da9768812f615c68b13b52e",
            "c0875924c1c7987947deafd8780acf49",
        ));
        let aad = hex("50515253c0c1c2c3c4c5c6c7");
        let opened = decrypt(&key, &aad, &[&nonce[..], &sealed].concat()).unwrap();
        assert_eq!(opened.as_slice(), plain);
    }
}
