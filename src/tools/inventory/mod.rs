//! The inventory: what the lab has, where it is, and how it came to be so.

pub mod addresses;
pub mod changes;
pub mod health;
pub mod hosts;
pub mod networks;
pub mod search;
pub mod services;
pub mod vms;

use std::net::IpAddr;

use crate::app::{Context, Event};
use crate::error::{Error, Result};
use crate::registry::{Entry, Plan, Reversible};
use crate::store::inventory::links::Dependents;
use crate::store::inventory::record::{self, Outcome, Record, Removed};
use crate::store::inventory::{Author, Kind, addresses as store_addresses};
use crate::text::{Line, Text};

pub const TOOLS: &[Entry] = &[
    Entry::of::<hosts::ListHosts>(),
    Entry::of::<hosts::GetHost>(),
    Entry::of::<hosts::PutHost>(),
    Entry::of::<hosts::RemoveHost>(),
    Entry::of::<vms::ListVms>(),
    Entry::of::<vms::GetVm>(),
    Entry::of::<vms::PutVm>(),
    Entry::of::<vms::RemoveVm>(),
    Entry::of::<services::ListServices>(),
    Entry::of::<services::GetService>(),
    Entry::of::<services::PutService>(),
    Entry::of::<services::RemoveService>(),
    Entry::of::<health::CheckServiceHealth>(),
    Entry::of::<networks::ListNetworks>(),
    Entry::of::<networks::GetNetwork>(),
    Entry::of::<networks::PutNetwork>(),
    Entry::of::<networks::RemoveNetwork>(),
    Entry::of::<addresses::LookupIp>(),
    Entry::of::<addresses::AllocateIp>(),
    Entry::of::<addresses::ReleaseIp>(),
    Entry::of::<search::Search>(),
    Entry::of::<changes::Changes>(),
];

/// A text that may be set to nothing.
type Short = Text<0, 120>;
type Notes = Text<0, 8000>;
type Tag = Line<40>;
/// A name as callers refer to it.
type Named = Line<63>;
/// `host:NAME`, or nothing.
type Link = Text<0, 80>;

/// The most addresses, tags or dependencies of one record.
const ITEMS: usize = 64;

fn author(cx: &Context) -> Author {
    Author { by: cx.caller.principal.clone(), call_id: cx.call_id.clone(), at: cx.now() }
}

fn uri(kind: Kind, name: &str) -> String {
    format!("hearth://{kind}/{name}")
}

async fn put<R: Record>(
    cx: &Context,
    name: String,
    if_version: Option<i64>,
    change: impl FnOnce(&mut R) -> Result<()> + Send + 'static,
) -> Result<R::Shown> {
    let author = author(cx);
    let put = cx.write(move |tx| record::put(tx, &author, &name, if_version, change)).await?;
    if put.outcome == Outcome::Created {
        cx.publish(Event::ListChanged);
    }
    if put.outcome != Outcome::Unchanged {
        publish(cx, R::KIND, &put.name, &put.touched);
    }
    Ok(put.shown)
}

async fn remove<R: Record>(cx: &Context, name: String) -> Result<Removed> {
    let author = author(cx);
    let removed = cx.write(move |tx| record::remove::<R>(tx, &author, &name)).await?;
    publish(cx, R::KIND, &removed.removed, &removed.touched);
    cx.publish(Event::ListChanged);
    Ok(removed)
}

/// Tells those who watch the record, or one that shows it.
fn publish(cx: &Context, kind: Kind, name: &str, touched: &[(Kind, String)]) {
    cx.publish(Event::changed(uri(kind, name)));
    for (kind, name) in touched {
        cx.publish(Event::changed(uri(*kind, name)));
    }
}

/// What a removal would take away, and what would be left with a reference to nothing.
async fn plan_removal<R: Record>(cx: &Context, name: &str) -> Result<Plan> {
    let (record, dependents) = cx
        .read_now(|conn| {
            let record: R = record::get(conn, name)?;
            record.check_removal(conn)?;
            let dependents = record.dependents(conn)?;
            Ok((record, dependents))
        })
        .await?;
    let (kind, name) = (R::KIND, record.name());
    let summary = format!("remove {kind} `{name}` from the inventory");
    let effects = effects(kind, name, &dependents);
    let before = serde_json::json!({ kind.word(): record, "referring": dependents });
    let how = format!("call inventory_put_{kind} with the fields of `before`; its history stays");
    Ok(Plan { summary, effects, before, reversible: Reversible::Yes { how } })
}

fn effects(kind: Kind, name: &str, dependents: &Dependents) -> Vec<String> {
    let groups = [("vm", &dependents.vms), ("service", &dependents.services), ("address", &dependents.addresses)];
    let mut effects = vec![format!("{kind} `{name}` is removed")];
    for (what, names) in groups {
        effects.extend(names.iter().map(|other| format!("{what} `{other}` still refers to {kind} `{name}`")));
    }
    effects
}

/// Sets an optional text; the empty one clears it.
fn set_text<const MAX: usize>(target: &mut Option<String>, text: Option<Text<0, MAX>>) {
    if let Some(text) = text {
        *target = Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    }
}

/// Sets an optional text of one line.
fn set_line<const MAX: usize>(target: &mut Option<String>, field: &str, text: Option<Text<0, MAX>>) -> Result<()> {
    if text.as_ref().is_some_and(|text| text.trim().chars().any(char::is_control)) {
        return Err(Error::invalid(field, "must be one line without control characters"));
    }
    set_text(target, text);
    Ok(())
}

/// Sets an optional number within bounds; 0 clears it.
fn set_number(target: &mut Option<i64>, field: &str, number: Option<i64>, most: i64) -> Result<()> {
    match number {
        None => {}
        Some(0) => *target = None,
        Some(number) if (1..=most).contains(&number) => *target = Some(number),
        Some(number) => {
            return Err(Error::invalid(field, format_args!("must be from 1 to {most}, or 0 for none, not {number}")));
        }
    }
    Ok(())
}

/// Sets an optional address; the empty text clears it.
fn set_address(target: &mut Option<IpAddr>, field: &str, text: Option<Short>) -> Result<()> {
    match text.as_deref().map(str::trim) {
        None => {}
        Some("") => *target = None,
        Some(text) => *target = Some(store_addresses::parse(field, text)?),
    }
    Ok(())
}

fn set_addresses(target: &mut Vec<IpAddr>, field: &str, texts: Option<Vec<Line<64>>>) -> Result<()> {
    let Some(texts) = texts else { return Ok(()) };
    let parsed = texts.iter().map(|text| store_addresses::parse(field, text)).collect::<Result<Vec<_>>>()?;
    *target = distinct(field, parsed, |ip| *ip)?;
    Ok(())
}

/// Sets a list of names, none twice in whatever case.
fn set_names<T: std::ops::Deref<Target = str>>(
    target: &mut Vec<String>,
    field: &str,
    names: Option<Vec<T>>,
) -> Result<()> {
    let Some(names) = names else { return Ok(()) };
    let names = names.iter().map(|name| name.to_string()).collect();
    *target = distinct(field, names, |name: &String| name.to_ascii_lowercase())?;
    Ok(())
}

fn distinct<T, K: Eq + std::hash::Hash>(field: &str, items: Vec<T>, key: impl Fn(&T) -> K) -> Result<Vec<T>> {
    if ITEMS < items.len() {
        return Err(Error::invalid(field, format_args!("has {} items; {ITEMS} are allowed", items.len())));
    }
    let mut seen = std::collections::HashSet::new();
    Ok(items.into_iter().filter(|item| seen.insert(key(item))).collect())
}
