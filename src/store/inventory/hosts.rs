//! Hosts: the machines of the lab.

use std::net::IpAddr;

use rusqlite::{Connection, Row, ToSql, Transaction};
use schemars::JsonSchema;
use serde::Serialize;

use super::links::{self, Dependents};
use super::record::{self, Record};
use super::{Dates, HostKind, Json, Kind, addresses};
use crate::error::Result;
use crate::page::{Limit, Page};

/// What a list tells of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Machine {
    pub name: String,
    pub kind: HostKind,
    pub addresses: Vec<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    pub tags: Vec<String>,
    pub version: i64,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Host {
    #[serde(flatten)]
    pub machine: Machine,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    #[serde(flatten)]
    pub dates: Dates,
}

/// Which hosts [`list`] returns.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub kind: Option<HostKind>,
    pub tag: Option<String>,
}

const SELECT: &str =
    "select name, kind, addresses, os, location, notes, tags, version, created_at, updated_at, updated_by
     from hosts";

const SAVE: &str = "insert into hosts (name, kind, addresses, os, location, notes, tags, version,
       created_at, updated_at, updated_by)
     values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
     on conflict (name) do update set kind = excluded.kind, addresses = excluded.addresses, os = excluded.os,
       location = excluded.location, notes = excluded.notes, tags = excluded.tags, version = excluded.version,
       updated_at = excluded.updated_at, updated_by = excluded.updated_by";

const MATCHING: &str = "(?3 is null or kind = ?3)
     and (?4 is null or exists (select 1 from json_each(tags) where value = ?4 collate nocase))";

/// Hosts after the name `after`.
pub fn list(conn: &Connection, filter: &Filter, after: Option<String>, limit: Limit) -> Result<Page<Machine>> {
    record::list::<Host>(conn, MATCHING, &[&filter.kind, &filter.tag], after, limit)
}

impl Record for Host {
    const KIND: Kind = Kind::Host;
    const SELECT: &'static str = SELECT;
    const DELETE: &'static str = "delete from hosts where name = ?1";
    type Brief = Machine;
    type Shown = Host;

    fn new(name: String) -> Host {
        let machine = Machine {
            name,
            kind: HostKind::Other,
            addresses: Vec::new(),
            os: None,
            location: None,
            tags: Vec::new(),
            version: 0,
        };
        Host { machine, notes: None, dates: Dates::default() }
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Host> {
        let machine = Machine {
            name: row.get(0)?,
            kind: row.get(1)?,
            addresses: row.get::<_, Json<Vec<IpAddr>>>(2)?.0,
            os: row.get(3)?,
            location: row.get(4)?,
            tags: row.get::<_, Json<Vec<String>>>(6)?.0,
            version: row.get(7)?,
        };
        let dates = Dates { created_at: row.get(8)?, updated_at: row.get(9)?, updated_by: row.get(10)? };
        Ok(Host { machine, notes: row.get(5)?, dates })
    }

    fn name(&self) -> &str {
        &self.machine.name
    }

    fn version(&self) -> i64 {
        self.machine.version
    }

    fn marks(&mut self) -> (&mut i64, &mut Dates) {
        (&mut self.machine.version, &mut self.dates)
    }

    fn settle(&mut self, conn: &Connection, before: Option<&Host>) -> Result<()> {
        let known = before.map(|before| before.machine.addresses.as_slice()).unwrap_or_default();
        let new: Vec<IpAddr> = self.holds().into_iter().filter(|ip| !known.contains(ip)).collect();
        addresses::check_unheld(conn, Kind::Host, self.name(), &new)?;
        Ok(())
    }

    fn save(&self, tx: &Transaction<'_>) -> Result<()> {
        let (machine, dates) = (&self.machine, &self.dates);
        let (addresses, tags) = (Json(&machine.addresses), Json(&machine.tags));
        let values: [&dyn ToSql; 11] = [
            &machine.name,
            &machine.kind,
            &addresses,
            &machine.os,
            &machine.location,
            &self.notes,
            &tags,
            &machine.version,
            &dates.created_at,
            &dates.updated_at,
            &dates.updated_by,
        ];
        tx.prepare_cached(SAVE)?.execute(&values[..])?;
        Ok(())
    }

    fn refers_to(&self) -> Vec<(Kind, String)> {
        Vec::new()
    }

    fn holds(&self) -> Vec<IpAddr> {
        self.machine.addresses.clone()
    }

    fn words(&self) -> Vec<String> {
        let machine = &self.machine;
        let mut words = vec![machine.kind.to_string()];
        words.extend(machine.addresses.iter().map(IpAddr::to_string));
        words.extend([&machine.os, &machine.location].into_iter().flatten().cloned());
        words.extend(machine.tags.iter().cloned());
        words.extend(self.notes.clone());
        words
    }

    fn dependents(&self, conn: &Connection) -> Result<Dependents> {
        Ok(Dependents {
            vms: links::vms_of_host(conn, self.name())?,
            services: links::services_on(conn, Kind::Host, self.name())?,
            addresses: links::addresses_of(conn, Kind::Host, self.name())?,
        })
    }

    fn brief(self, _: &Connection) -> Result<Machine> {
        Ok(self.machine)
    }

    fn show(self, _: &Connection) -> Result<Host> {
        Ok(self)
    }
}
