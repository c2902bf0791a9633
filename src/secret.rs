//! Key material and secrets that cannot be printed and do not stay in memory.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// 256 bits of key, wiped when dropped.
#[derive(Clone)]
pub struct Key(Zeroizing<[u8; 32]>);

impl Key {
    pub fn new(bytes: [u8; 32]) -> Key {
        Key(Zeroizing::new(bytes))
    }

    /// The key itself, for the primitive that needs it.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(***)")
    }
}

/// A secret of a person or a service: bytes of a fixed place, wiped when dropped.
///
/// It has neither `Debug` nor `Display` nor `Serialize`, so that it enters no log, no error and
/// no answer but through [`Secret::expose`]. It never grows, since a vector that does leaves
/// copies behind.
pub struct Secret(Zeroizing<Box<[u8]>>);

impl Secret {
    /// Takes the bytes over; the vector they came in is wiped.
    pub fn new(mut bytes: Vec<u8>) -> Secret {
        let secret = Secret::copied(&bytes);
        bytes.zeroize();
        secret
    }

    pub fn copied(bytes: &[u8]) -> Secret {
        Secret(Zeroizing::new(Box::from(bytes)))
    }

    /// The secret itself, for whom it is meant.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// From a text. What is not one is refused in words that do not repeat it, as serde's own would.
impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Secret::new(text.into_bytes())),
            _ => Err(serde::de::Error::custom("must be a text")),
        }
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "writeOnly": true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_does_not_repeat_what_was_given() {
        for given in ["123456", "true", "[\"hunter2\"]", "{\"hunter2\": 1}"] {
            let error = serde_json::from_str::<Secret>(given).err().unwrap().to_string();
            assert_eq!(error, "must be a text");
        }
        assert_eq!(serde_json::from_str::<Secret>("\"hunter2\"").ok().unwrap().expose(), b"hunter2");
    }
}
