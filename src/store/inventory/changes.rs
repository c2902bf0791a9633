//! The history: a row for every change of a record, with what it was before and after.

use std::collections::BTreeSet;

use rusqlite::{Connection, Row, ToSql, Transaction, params};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::words::{Action, Kind};
use super::{Author, Json};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::page::{Limit, Page};

/// One change of one record.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Change {
    pub change_id: i64,
    pub at: Timestamp,
    pub by: String,
    pub kind: Kind,
    pub name: String,
    pub action: Action,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Map<String, Value>>,
    /// What differs between the two
    pub fields: Vec<String>,
}

/// Which changes [`list`] returns, newest first.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    pub kind: Option<Kind>,
    pub name: Option<String>,
    pub by: Option<String>,
}

/// What every change touches, and so says nothing about it.
const STAMPS: [&str; 5] = ["version", "created_at", "created_by", "updated_at", "updated_by"];

const INSERT: &str = "insert into inventory_changes (at, by, call_id, kind, name, action, before, after)
     values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

const LIST: &str = "select change_id, at, by, kind, name, action, before, after from inventory_changes
     where change_id < ifnull(?1, 9223372036854775807)
       and (?2 is null or ?2 <= at) and (?3 is null or at < ?3) and (?4 is null or kind = ?4)
       and (?5 is null or by = ?5)
     order by change_id desc limit ?6";

const LIST_OF_NAME: &str = "select change_id, at, by, kind, name, action, before, after from inventory_changes
     where name = ?7 and change_id < ifnull(?1, 9223372036854775807)
       and (?2 is null or ?2 <= at) and (?3 is null or at < ?3) and (?4 is null or kind = ?4)
       and (?5 is null or by = ?5)
     order by change_id desc limit ?6";

/// Notes that a record came (no `before`), went (no `after`) or changed.
pub fn append<T: Serialize>(
    tx: &Transaction<'_>,
    author: &Author,
    kind: Kind,
    name: &str,
    before: Option<&T>,
    after: Option<&T>,
) -> Result<()> {
    let action = match (before, after) {
        (None, _) => Action::Created,
        (Some(_), Some(_)) => Action::Updated,
        (Some(_), None) => Action::Removed,
    };
    let json = |record: Option<&T>| record.map(serde_json::to_string).transpose().map_err(Error::internal);
    tx.prepare_cached(INSERT)?.execute(params![
        author.at,
        author.by,
        author.call_id,
        kind,
        name,
        action,
        json(before)?,
        json(after)?
    ])?;
    Ok(())
}

pub fn list(conn: &Connection, filter: &Filter, before: Option<i64>, limit: Limit) -> Result<Page<Change>> {
    let n_rows = limit.and_one();
    let mut values: Vec<&dyn ToSql> = vec![&before, &filter.since, &filter.until, &filter.kind, &filter.by, &n_rows];
    values.extend(filter.name.as_ref().map(|name| name as &dyn ToSql));
    let mut statement = conn.prepare_cached(if filter.name.is_some() { LIST_OF_NAME } else { LIST })?;
    let rows = statement.query_map(&values[..], Change::read)?;
    let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(Page::bounded(rows, limit, |change| change.change_id))
}

impl Change {
    fn read(row: &Row<'_>) -> rusqlite::Result<Change> {
        let before = row.get::<_, Option<Json<Map<String, Value>>>>(6)?.map(|Json(record)| record);
        let after = row.get::<_, Option<Json<Map<String, Value>>>>(7)?.map(|Json(record)| record);
        Ok(Change {
            change_id: row.get(0)?,
            at: row.get(1)?,
            by: row.get(2)?,
            kind: row.get(3)?,
            name: row.get(4)?,
            action: row.get(5)?,
            fields: differing(before.as_ref(), after.as_ref()),
            before,
            after,
        })
    }
}

fn differing(before: Option<&Map<String, Value>>, after: Option<&Map<String, Value>>) -> Vec<String> {
    let keys: BTreeSet<&String> = before.into_iter().chain(after).flat_map(Map::keys).collect();
    let get = |record: Option<&Map<String, Value>>, key: &String| record.and_then(|record| record.get(key)).cloned();
    keys.into_iter()
        .filter(|key| !STAMPS.contains(&key.as_str()) && get(before, key) != get(after, key))
        .cloned()
        .collect()
}
