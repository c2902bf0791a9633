//! Texts with a length in their type: checked once, where they enter.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A text of `MIN` to `MAX` characters, without NUL.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Text<const MIN: usize, const MAX: usize>(String);

/// One line of up to `MAX` characters, trimmed, neither empty nor with control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Line<const MAX: usize>(String);

/// What inventory entries, tokens and tags are called.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Name(String);

impl<const MIN: usize, const MAX: usize> TryFrom<String> for Text<MIN, MAX> {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        check_length(&text, MIN, MAX)?;
        if text.contains('\0') {
            return Err("must not contain NUL".to_owned());
        }
        Ok(Text(text))
    }
}

impl<const MAX: usize> TryFrom<String> for Line<MAX> {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let text = text.trim();
        check_length(text, 1, MAX)?;
        if text.chars().any(char::is_control) {
            return Err("must be one line without control characters".to_owned());
        }
        Ok(Line(text.to_owned()))
    }
}

impl Name {
    pub const MAX: usize = 63;
    pub const PATTERN: &'static str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$";
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        check_length(&text, 1, Name::MAX)?;
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if !plain || !text.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            return Err("must be letters, digits, `.`, `_` and `-`, and begin with a letter or digit".to_owned());
        }
        Ok(Name(text))
    }
}

fn check_length(text: &str, min: usize, max: usize) -> Result<(), String> {
    let length = text.chars().count();
    if length < min || max < length {
        return Err(format!("must have {min} to {max} characters, not {length}"));
    }
    Ok(())
}

macro_rules! plain_text {
    ([$($generics:tt)*] $type:ty, $schema:expr) => {
        impl<$($generics)*> Deref for $type {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl<$($generics)*> fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<$($generics)*> $type {
            pub fn into_string(self) -> String {
                self.0
            }
        }

        impl<$($generics)*> JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                "Text".into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

plain_text!([const MIN: usize, const MAX: usize] Text<MIN, MAX>, json_schema!({ "type": "string", "minLength": MIN, "maxLength": MAX }));
plain_text!([const MAX: usize] Line<MAX>, json_schema!({ "type": "string", "minLength": 1, "maxLength": MAX }));
plain_text!([] Name, json_schema!({ "type": "string", "pattern": Name::PATTERN }));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_counted_in_characters() {
        assert!(serde_json::from_str::<Text<1, 3>>("\"äöü\"").is_ok());
        let error = serde_json::from_str::<Text<1, 3>>("\"\"").unwrap_err();
        assert!(error.to_string().contains("1 to 3 characters, not 0"), "{error}");
    }

    #[test]
    fn a_line_is_trimmed_and_single() {
        assert_eq!(&*serde_json::from_str::<Line<9>>("\" nas \"").unwrap(), "nas");
        assert!(serde_json::from_str::<Line<9>>("\"a\\nb\"").is_err());
        assert!(serde_json::from_str::<Line<9>>("\"   \"").is_err());
    }

    #[test]
    fn a_name_cannot_pass_for_an_option_or_a_path() {
        for bad in ["-x", "../x", "a b", "", ".x", "ä", &"x".repeat(64)] {
            assert!(Name::try_from(bad.to_owned()).is_err(), "{bad}");
        }
        assert!(Name::try_from("pve1.lan".to_owned()).is_ok());
    }
}
