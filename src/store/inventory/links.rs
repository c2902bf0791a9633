//! References between records: `host:nas` and bare names, what they name, and what hangs on a record.

use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;

use super::Kind;
use crate::error::{Error, Result};

/// The most names that are compared for a suggestion, and the most dependents of a kind that are named.
const NAMES: i64 = 1000;
/// The most names that are told when none is near.
const TOLD: usize = 8;

/// What refers to a record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Dependents {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vms: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
}

/// The name as the store spells it.
pub fn canonical(conn: &Connection, kind: Kind, name: &str) -> Result<Option<String>> {
    let sql = match kind {
        Kind::Host => "select name from hosts where name = ?1",
        Kind::Vm => "select name from vms where name = ?1",
        Kind::Service => "select name from services where name = ?1",
        Kind::Network => "select name from networks where name = ?1",
        Kind::Address => "select address from addresses where address = ?1",
    };
    Ok(conn.prepare_cached(sql)?.query_row([name], |row| row.get(0)).optional()?)
}

fn names(conn: &Connection, kind: Kind) -> Result<Vec<String>> {
    let sql = match kind {
        Kind::Host => "select name from hosts order by name limit ?1",
        Kind::Vm => "select name from vms order by name limit ?1",
        Kind::Service => "select name from services order by name limit ?1",
        Kind::Network => "select name from networks order by name limit ?1",
        Kind::Address => "select address from addresses order by position limit ?1",
    };
    column(conn, sql, &[&NAMES])
}

/// The name that `field` of the input means, which must exist.
pub fn resolve(conn: &Connection, field: &str, kind: Kind, name: &str) -> Result<String> {
    match canonical(conn, kind, name)? {
        Some(name) => Ok(name),
        None => {
            let hint = suggestion(conn, kind, name)?;
            Err(Error::invalid(field, format_args!("there is no {kind} `{name}`")).with_hint(hint))
        }
    }
}

/// The `kind:name` that `field` of the input means: of one of `kinds`, and existing.
pub fn resolve_link(conn: &Connection, field: &str, link: &str, kinds: &[Kind]) -> Result<String> {
    let parts = link.split_once(':').map(|(kind, name)| (kind.trim(), name.trim()));
    let known = parts.and_then(|(word, name)| Some((kinds.iter().find(|kind| kind.word() == word)?, name)));
    let Some((kind, name)) = known else {
        let forms: Vec<String> = kinds.iter().map(|kind| format!("`{kind}:NAME`")).collect();
        return Err(Error::invalid(field, format_args!("`{link}` is not {}", forms.join(" or "))));
    };
    Ok(format!("{kind}:{}", resolve(conn, field, *kind, name)?))
}

/// The two parts of a `kind:name` that the store holds.
pub fn parts(link: &str) -> Option<(Kind, String)> {
    let (word, name) = link.split_once(':')?;
    let kind = [Kind::Host, Kind::Vm, Kind::Service].into_iter().find(|kind| kind.word() == word)?;
    Some((kind, name.to_owned()))
}

/// That a record asked for does not exist.
pub fn unknown(conn: &Connection, kind: Kind, name: &str) -> Result<Error> {
    let hint = suggestion(conn, kind, name)?;
    Ok(Error::not_found(format_args!("there is no {kind} `{name}`")).with_hint(hint))
}

fn suggestion(conn: &Connection, kind: Kind, name: &str) -> Result<String> {
    let names = names(conn, kind)?;
    if let Some(near) = nearest(name, &names) {
        return Ok(format!("did you mean `{near}`?"));
    }
    let (told, more) = (names.iter().take(TOLD).map(|name| format!("`{name}`")), TOLD < names.len());
    Ok(match names.len() {
        0 => format!("the inventory has no {kind} yet"),
        _ => format!("known: {}{}", told.collect::<Vec<_>>().join(", "), if more { ", …" } else { "" }),
    })
}

/// The name that is at most one slip in three letters away.
fn nearest<'a>(name: &str, names: &'a [String]) -> Option<&'a str> {
    let name = name.to_ascii_lowercase();
    names
        .iter()
        .map(|known| (strsim::damerau_levenshtein(&name, &known.to_ascii_lowercase()), known.as_str()))
        .filter(|(distance, known)| *distance <= (known.len() / 3).max(1))
        .min()
        .map(|(_, known)| known)
}

pub fn vms_of_host(conn: &Connection, host: &str) -> Result<Vec<String>> {
    column(conn, "select name from vms where host = ?1 order by name limit ?2", &[&host, &NAMES])
}

/// Services that run on the host or VM.
pub fn services_on(conn: &Connection, kind: Kind, name: &str) -> Result<Vec<String>> {
    let sql = "select name from services where runs_on = ?1 order by name limit ?2";
    column(conn, sql, &[&format!("{kind}:{name}"), &NAMES])
}

/// Services that depend on the service.
pub fn services_needing(conn: &Connection, service: &str) -> Result<Vec<String>> {
    let sql = "select name from services
         where exists (select 1 from json_each(depends_on) where value = ?1 collate nocase) order by name limit ?2";
    column(conn, sql, &[&service, &NAMES])
}

pub fn addresses_of(conn: &Connection, kind: Kind, name: &str) -> Result<Vec<String>> {
    let sql = "select address from addresses where assigned_to = ?1 order by position limit ?2";
    column(conn, sql, &[&format!("{kind}:{name}"), &NAMES])
}

pub(super) fn column(conn: &Connection, sql: &str, params: &[&dyn rusqlite::ToSql]) -> Result<Vec<String>> {
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map(params, |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?)
}
