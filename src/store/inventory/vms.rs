//! Virtual machines and containers that have an address of their own.

use std::net::IpAddr;

use rusqlite::{Connection, Row, ToSql, Transaction};
use schemars::JsonSchema;
use serde::Serialize;

use super::links::{self, Dependents};
use super::record::{self, Record};
use super::{Dates, Json, Kind, VmKind, VmStatus, addresses};
use crate::error::Result;
use crate::page::{Limit, Page};

/// What a list tells of a VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Guest {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vmid: Option<i64>,
    pub kind: VmKind,
    pub status: VmStatus,
    pub addresses: Vec<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vcpus: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<i64>,
    pub tags: Vec<String>,
    pub version: i64,
}

/// A VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Vm {
    #[serde(flatten)]
    pub guest: Guest,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    #[serde(flatten)]
    pub dates: Dates,
}

/// Which VMs [`list`] returns.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub host: Option<String>,
    pub status: Option<VmStatus>,
    pub tag: Option<String>,
}

const SELECT: &str = "select name, host, vmid, kind, status, addresses, os, vcpus, memory_mib, notes, tags, version,
       created_at, updated_at, updated_by
     from vms";

const SAVE: &str = "insert into vms (name, host, vmid, kind, status, addresses, os, vcpus, memory_mib, notes, tags,
       version, created_at, updated_at, updated_by)
     values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
     on conflict (name) do update set host = excluded.host, vmid = excluded.vmid, kind = excluded.kind,
       status = excluded.status, addresses = excluded.addresses, os = excluded.os, vcpus = excluded.vcpus,
       memory_mib = excluded.memory_mib, notes = excluded.notes, tags = excluded.tags, version = excluded.version,
       updated_at = excluded.updated_at, updated_by = excluded.updated_by";

const MATCHING: &str = "(?3 is null or host = ?3) and (?4 is null or status = ?4)
     and (?5 is null or exists (select 1 from json_each(tags) where value = ?5 collate nocase))";

/// VMs after the name `after`.
pub fn list(conn: &Connection, filter: &Filter, after: Option<String>, limit: Limit) -> Result<Page<Guest>> {
    record::list::<Vm>(conn, MATCHING, &[&filter.host, &filter.status, &filter.tag], after, limit)
}

impl Record for Vm {
    const KIND: Kind = Kind::Vm;
    const SELECT: &'static str = SELECT;
    const DELETE: &'static str = "delete from vms where name = ?1";
    type Brief = Guest;
    type Shown = Vm;

    fn new(name: String) -> Vm {
        let guest = Guest {
            name,
            host: None,
            vmid: None,
            kind: VmKind::Vm,
            status: VmStatus::Unknown,
            addresses: Vec::new(),
            os: None,
            vcpus: None,
            memory_mib: None,
            tags: Vec::new(),
            version: 0,
        };
        Vm { guest, notes: None, dates: Dates::default() }
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Vm> {
        let guest = Guest {
            name: row.get(0)?,
            host: row.get(1)?,
            vmid: row.get(2)?,
            kind: row.get(3)?,
            status: row.get(4)?,
            addresses: row.get::<_, Json<Vec<IpAddr>>>(5)?.0,
            os: row.get(6)?,
            vcpus: row.get(7)?,
            memory_mib: row.get(8)?,
            tags: row.get::<_, Json<Vec<String>>>(10)?.0,
            version: row.get(11)?,
        };
        let dates = Dates { created_at: row.get(12)?, updated_at: row.get(13)?, updated_by: row.get(14)? };
        Ok(Vm { guest, notes: row.get(9)?, dates })
    }

    fn name(&self) -> &str {
        &self.guest.name
    }

    fn version(&self) -> i64 {
        self.guest.version
    }

    fn marks(&mut self) -> (&mut i64, &mut Dates) {
        (&mut self.guest.version, &mut self.dates)
    }

    fn settle(&mut self, conn: &Connection, before: Option<&Vm>) -> Result<()> {
        let stored_host = before.and_then(|before| before.guest.host.as_ref());
        if let Some(host) = self.guest.host.as_ref().filter(|host| Some(*host) != stored_host) {
            self.guest.host = Some(links::resolve(conn, "host", Kind::Host, host)?);
        }
        let known = before.map(|before| before.guest.addresses.as_slice()).unwrap_or_default();
        let new: Vec<IpAddr> = self.holds().into_iter().filter(|ip| !known.contains(ip)).collect();
        addresses::check_unheld(conn, Kind::Vm, self.name(), &new)?;
        Ok(())
    }

    fn save(&self, tx: &Transaction<'_>) -> Result<()> {
        let (guest, dates) = (&self.guest, &self.dates);
        let (addresses, tags) = (Json(&guest.addresses), Json(&guest.tags));
        let values: [&dyn ToSql; 15] = [
            &guest.name,
            &guest.host,
            &guest.vmid,
            &guest.kind,
            &guest.status,
            &addresses,
            &guest.os,
            &guest.vcpus,
            &guest.memory_mib,
            &self.notes,
            &tags,
            &guest.version,
            &dates.created_at,
            &dates.updated_at,
            &dates.updated_by,
        ];
        tx.prepare_cached(SAVE)?.execute(&values[..])?;
        Ok(())
    }

    fn refers_to(&self) -> Vec<(Kind, String)> {
        self.guest.host.iter().map(|host| (Kind::Host, host.clone())).collect()
    }

    fn holds(&self) -> Vec<IpAddr> {
        self.guest.addresses.clone()
    }

    fn words(&self) -> Vec<String> {
        let guest = &self.guest;
        let mut words = vec![guest.kind.to_string(), guest.status.to_string()];
        words.extend(guest.host.clone());
        words.extend(guest.vmid.map(|vmid| vmid.to_string()));
        words.extend(guest.addresses.iter().map(IpAddr::to_string));
        words.extend(guest.os.clone());
        words.extend(guest.tags.iter().cloned());
        words.extend(self.notes.clone());
        words
    }

    fn dependents(&self, conn: &Connection) -> Result<Dependents> {
        Ok(Dependents {
            vms: Vec::new(),
            services: links::services_on(conn, Kind::Vm, self.name())?,
            addresses: links::addresses_of(conn, Kind::Vm, self.name())?,
        })
    }

    fn brief(self, _: &Connection) -> Result<Guest> {
        Ok(self.guest)
    }

    fn show(self, _: &Connection) -> Result<Vm> {
        Ok(self)
    }
}
