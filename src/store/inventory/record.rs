//! What the four kinds of records share: put as a patch, get, list and remove.

use std::net::IpAddr;

use rusqlite::{Connection, OptionalExtension, Row, ToSql, Transaction, params_from_iter};
use schemars::JsonSchema;
use serde::Serialize;

use super::links::{self, Dependents};
use super::{Author, Dates, Kind, addresses, changes, search};
use crate::error::{Error, Result};
use crate::page::{Limit, Page};

/// A host, VM, service or network as the store keeps it.
pub trait Record: Clone + PartialEq + Serialize + Send + Sized + 'static {
    const KIND: Kind;
    /// Ends with the table, so that conditions can follow.
    const SELECT: &'static str;
    const DELETE: &'static str;
    /// What a list tells of it.
    type Brief: Serialize + JsonSchema + Send;
    /// What a caller sees of it, with what is counted when it is read.
    type Shown: Serialize + JsonSchema + Send + 'static;

    fn new(name: String) -> Self;
    fn read(row: &Row<'_>) -> rusqlite::Result<Self>;
    fn name(&self) -> &str;
    fn version(&self) -> i64;
    fn marks(&mut self) -> (&mut i64, &mut Dates);

    /// Holds the record against the rest of the inventory and spells its references as they are spelled there.
    fn settle(&mut self, conn: &Connection, before: Option<&Self>) -> Result<()>;
    fn save(&self, tx: &Transaction<'_>) -> Result<()>;
    /// The records that show this one as theirs.
    fn refers_to(&self) -> Vec<(Kind, String)>;
    /// The addresses that it has.
    fn holds(&self) -> Vec<IpAddr>;
    /// What it is found by, beside its name.
    fn words(&self) -> Vec<String>;

    fn dependents(&self, conn: &Connection) -> Result<Dependents>;
    /// Fails if something forbids that the record goes.
    fn check_removal(&self, _: &Connection) -> Result<()> {
        Ok(())
    }
    fn brief(self, conn: &Connection) -> Result<Self::Brief>;
    fn show(self, conn: &Connection) -> Result<Self::Shown>;
}

/// What a put did; on the wire it is the record alone.
#[derive(Debug, Serialize)]
pub struct Put<S> {
    #[serde(flatten)]
    pub shown: S,
    #[serde(skip)]
    pub outcome: Outcome,
    /// As the record is spelled in the store.
    #[serde(skip)]
    pub name: String,
    /// Other records that show this one since then, or no more.
    #[serde(skip)]
    pub touched: Vec<(Kind, String)>,
}

/// What a removal did; on the wire it is the name alone.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Removed {
    pub removed: String,
    /// Other records that no longer show this one.
    #[serde(skip)]
    pub touched: Vec<(Kind, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Created,
    Updated,
    Unchanged,
}

/// Makes the record `name`, or changes what `change` changes of it.
pub fn put<R: Record>(
    tx: &Transaction<'_>,
    author: &Author,
    name: &str,
    if_version: Option<i64>,
    change: impl FnOnce(&mut R) -> Result<()>,
) -> Result<Put<R::Shown>> {
    let before = find::<R>(tx, name)?;
    check_version(name, before.as_ref(), if_version)?;
    let mut record = before.clone().unwrap_or_else(|| R::new(name.to_owned()));
    change(&mut record)?;
    record.settle(tx, before.as_ref())?;
    let name = record.name().to_owned();
    if before.as_ref() == Some(&record) {
        return Ok(Put { shown: record.show(tx)?, outcome: Outcome::Unchanged, name, touched: Vec::new() });
    }

    let (version, dates) = record.marks();
    *version += 1;
    dates.updated_at = author.at;
    dates.updated_by.clone_from(&author.by);
    if before.is_none() {
        dates.created_at = author.at;
    }
    record.save(tx)?;
    addresses::hold(tx, R::KIND, &name, &record.holds())?;
    search::index(tx, R::KIND, &name, &record.words())?;
    changes::append(tx, author, R::KIND, &name, before.as_ref(), Some(&record))?;
    let outcome = if before.is_none() { Outcome::Created } else { Outcome::Updated };
    let touched = differing(before.map(|before| before.refers_to()).unwrap_or_default(), record.refers_to());
    Ok(Put { shown: record.show(tx)?, outcome, name, touched })
}

/// What is in one of the two only.
fn differing<T: PartialEq>(before: Vec<T>, after: Vec<T>) -> Vec<T> {
    let (kept, gone): (Vec<T>, Vec<T>) = before.into_iter().partition(|item| after.contains(item));
    gone.into_iter().chain(after.into_iter().filter(|item| !kept.contains(item))).collect()
}

fn check_version<R: Record>(name: &str, before: Option<&R>, if_version: Option<i64>) -> Result<()> {
    let (Some(wanted), kind) = (if_version, R::KIND) else { return Ok(()) };
    let stored = before.map_or(0, R::version);
    if wanted == stored {
        return Ok(());
    }
    let error = match before {
        None => Error::conflict(format_args!("there is no {kind} `{name}` of version {wanted}: it does not exist"))
            .with_hint("leave `if_version` out to make it"),
        Some(_) => Error::conflict(format_args!("{kind} `{name}` is at version {stored}, not {wanted}")).with_hint(
            format_args!("read it again with inventory_get_{kind} and repeat the change on version {stored}"),
        ),
    };
    Err(error)
}

/// Removes the record; what refers to it keeps its reference.
pub fn remove<R: Record>(tx: &Transaction<'_>, author: &Author, name: &str) -> Result<Removed> {
    let record = get::<R>(tx, name)?;
    record.check_removal(tx)?;
    let name = record.name().to_owned();
    tx.prepare_cached(R::DELETE)?.execute([&name])?;
    addresses::hold(tx, R::KIND, &name, &[])?;
    search::forget(tx, R::KIND, &name)?;
    changes::append(tx, author, R::KIND, &name, Some(&record), None)?;
    Ok(Removed { removed: name, touched: record.refers_to() })
}

pub fn find<R: Record>(conn: &Connection, name: &str) -> Result<Option<R>> {
    let sql = format!("{} where name = ?1", R::SELECT);
    Ok(conn.prepare_cached(&sql)?.query_row([name], R::read).optional()?)
}

pub fn get<R: Record>(conn: &Connection, name: &str) -> Result<R> {
    match find(conn, name)? {
        Some(record) => Ok(record),
        None => Err(links::unknown(conn, R::KIND, name)?),
    }
}

/// Records after the name `after` that meet `conditions`, whose parameters begin at `?3`.
pub fn list<R: Record>(
    conn: &Connection,
    conditions: &'static str,
    filter: &[&dyn ToSql],
    after: Option<String>,
    limit: Limit,
) -> Result<Page<R::Brief>> {
    let sql = format!("{} where ifnull(?1, '') < name and {conditions} order by name limit ?2", R::SELECT);
    let n_rows = limit.and_one();
    let first: [&dyn ToSql; 2] = [&after, &n_rows];
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(first.iter().chain(filter)), R::read)?;
    let page = Page::bounded(rows.collect::<rusqlite::Result<Vec<R>>>()?, limit, |record| record.name().to_owned());
    let items = page.items.into_iter().map(|record| record.brief(conn)).collect::<Result<Vec<_>>>()?;
    Ok(Page { items, next_cursor: page.next_cursor })
}
