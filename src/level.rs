//! Capability levels; each includes the ones before it.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Level {
    /// Read everything that is not secret, and write on the forum.
    Monitor = 1,
    /// Start, stop and check things.
    Operate = 2,
    /// Edit the inventory, read configurations.
    Configure = 3,
    /// Create, remove, run commands, reveal.
    Manage = 4,
}

impl Level {
    pub const fn from_number(number: u8) -> Option<Level> {
        match number {
            1 => Some(Level::Monitor),
            2 => Some(Level::Operate),
            3 => Some(Level::Configure),
            4 => Some(Level::Manage),
            _ => None,
        }
    }

    pub const fn number(self) -> u8 {
        self as u8
    }

    pub const fn name(self) -> &'static str {
        match self {
            Level::Monitor => "monitor",
            Level::Operate => "operate",
            Level::Configure => "configure",
            Level::Manage => "manage",
        }
    }
}

impl From<Level> for u8 {
    fn from(level: Level) -> u8 {
        level.number()
    }
}

impl TryFrom<u8> for Level {
    type Error = String;

    fn try_from(number: u8) -> Result<Level, String> {
        Level::from_number(number).ok_or_else(|| format!("must be from 1 to 4, not {number}"))
    }
}

impl JsonSchema for Level {
    fn schema_name() -> Cow<'static, str> {
        "Level".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": 4 })
    }
}
