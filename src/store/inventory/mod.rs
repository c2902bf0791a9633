//! The inventory: hosts, VMs, services, networks and addresses, and the history of their changes.
//!
//! Invariant: a record, its row of history, its words and the addresses it holds change in one
//! transaction, and a put that changes nothing leaves no trace.

pub mod addresses;
pub mod changes;
pub mod checks;
pub mod hosts;
pub mod links;
pub mod networks;
pub mod record;
pub mod search;
pub mod services;
pub mod vms;
pub mod words;

use std::str::FromStr;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use words::{Action, AllocationKind, HostKind, Kind, VmKind, VmStatus};

use crate::clock::Timestamp;

/// Who makes a change, in which call, and when.
#[derive(Clone, Debug)]
pub struct Author {
    pub by: String,
    pub call_id: String,
    pub at: Timestamp,
}

/// When a record came to be and who touched it last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Dates {
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub updated_by: String,
}

/// A column that holds a list as a JSON array.
struct Json<T>(T);

impl<T: Serialize> ToSql for Json<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let text =
            serde_json::to_string(&self.0).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        Ok(text.into())
    }
}

impl<T: DeserializeOwned> FromSql for Json<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Json<T>> {
        serde_json::from_str(value.as_str()?).map(Json).map_err(|error| FromSqlError::Other(error.into()))
    }
}

/// A column that holds a value as its text.
struct Parsed<T>(T);

impl<T> FromSql for Parsed<T>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Parsed<T>> {
        value.as_str()?.parse().map(Parsed).map_err(|error: T::Err| FromSqlError::Other(error.into()))
    }
}
