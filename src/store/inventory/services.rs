//! Services: what runs on hosts and VMs, where it answers, and what it needs.

use std::net::IpAddr;

use rusqlite::{Connection, Row, ToSql, Transaction};
use schemars::JsonSchema;
use serde::Serialize;
use url::{Host, Url};

use super::links::{self, Dependents};
use super::record::{self, Record};
use super::{Dates, Json, Kind};
use crate::error::{Code, Error, Result};
use crate::page::{Limit, Page};

/// What a list tells of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Endpoint {
    pub name: String,
    pub kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// `host:NAME` or `vm:NAME`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs_on: Option<String>,
    pub depends_on: Vec<String>,
    pub tags: Vec<String>,
    pub version: i64,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Service {
    #[serde(flatten)]
    pub endpoint: Endpoint,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    #[serde(flatten)]
    pub dates: Dates,
}

/// Which services [`list`] returns.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub kind: Option<String>,
    pub runs_on: Option<String>,
    pub tag: Option<String>,
}

const SELECT: &str =
    "select name, kind, url, health_endpoint, port, protocol, runs_on, depends_on, notes, tags, version,
       created_at, updated_at, updated_by
     from services";

const SAVE: &str = "insert into services (name, kind, url, health_endpoint, port, protocol, runs_on, depends_on, notes,
       tags, version, created_at, updated_at, updated_by)
     values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
     on conflict (name) do update set kind = excluded.kind, url = excluded.url,
       health_endpoint = excluded.health_endpoint, port = excluded.port, protocol = excluded.protocol,
       runs_on = excluded.runs_on, depends_on = excluded.depends_on, notes = excluded.notes, tags = excluded.tags,
       version = excluded.version, updated_at = excluded.updated_at, updated_by = excluded.updated_by";

const MATCHING: &str = "(?3 is null or kind = ?3 collate nocase) and (?4 is null or runs_on = ?4)
     and (?5 is null or exists (select 1 from json_each(tags) where value = ?5 collate nocase))";

/// Where the text occurs; whether it is the host of the URL is for the parser to say.
const MENTIONING: &str = "select name, url, health_endpoint from services
     where instr(lower(ifnull(url, '') || ' ' || ifnull(health_endpoint, '')), lower(?1)) order by name limit 1000";

/// Services after the name `after`.
pub fn list(conn: &Connection, filter: &Filter, after: Option<String>, limit: Limit) -> Result<Page<Endpoint>> {
    record::list::<Service>(conn, MATCHING, &[&filter.kind, &filter.runs_on, &filter.tag], after, limit)
}

/// Services whose URL leads to a host of this name, with or without a domain.
pub fn at_host(conn: &Connection, host: &str) -> Result<Vec<String>> {
    let mut statement = conn.prepare_cached(MENTIONING)?;
    let mut rows = statement.query([host])?;
    let mut names = Vec::new();
    while let Some(row) = rows.next()? {
        let urls: [Option<String>; 2] = [row.get(1)?, row.get(2)?];
        let is_there = |url: &String| Url::parse(url).is_ok_and(|url| names_host(&url, host));
        if urls.iter().flatten().any(is_there) {
            names.push(row.get(0)?);
        }
    }
    Ok(names)
}

fn names_host(url: &Url, host: &str) -> bool {
    let Some(Host::Domain(domain)) = url.host() else { return false };
    let label = domain.split('.').next().unwrap_or_default();
    domain.eq_ignore_ascii_case(host) || label.eq_ignore_ascii_case(host)
}

/// A URL to note down; it must not carry a password, since the inventory is read by many.
pub fn check_url(field: &str, text: &str) -> Result<()> {
    let url =
        Url::parse(text).map_err(|error| Error::invalid(field, format_args!("`{text}` is not a URL: {error}")))?;
    if url.host_str().is_none_or(str::is_empty) {
        return Err(Error::invalid(field, format_args!("`{text}` names no host")));
    }
    if url.password().is_some() {
        return Err(Error::invalid(field, "must not carry a password"));
    }
    Ok(())
}

impl Endpoint {
    /// What a health check asks: the endpoint, absolute or below the URL, or else the URL.
    pub fn health_url(&self) -> Result<Url> {
        let missing = || {
            Error::new(Code::Unconfigured, format_args!("service `{}` has no URL to check", self.name))
                .with_hint("set `url`, or an absolute `health_endpoint`, with inventory_put_service")
        };
        let base = self.url.as_deref().and_then(|url| Url::parse(url).ok());
        let Some(path) = &self.health_endpoint else { return base.ok_or_else(missing) };
        if is_absolute(path) {
            return Url::parse(path).map_err(|_| missing());
        }
        base.and_then(|base| base.join(path).ok()).ok_or_else(missing)
    }
}

/// Whether a health endpoint is a URL of its own.
pub fn is_absolute(endpoint: &str) -> bool {
    endpoint.contains("://")
}

impl Record for Service {
    const KIND: Kind = Kind::Service;
    const SELECT: &'static str = SELECT;
    const DELETE: &'static str = "delete from services where name = ?1";
    type Brief = Endpoint;
    type Shown = Service;

    fn new(name: String) -> Service {
        let endpoint = Endpoint {
            name,
            kind: "other".to_owned(),
            url: None,
            health_endpoint: None,
            port: None,
            protocol: None,
            runs_on: None,
            depends_on: Vec::new(),
            tags: Vec::new(),
            version: 0,
        };
        Service { endpoint, notes: None, dates: Dates::default() }
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Service> {
        let endpoint = Endpoint {
            name: row.get(0)?,
            kind: row.get(1)?,
            url: row.get(2)?,
            health_endpoint: row.get(3)?,
            port: row.get(4)?,
            protocol: row.get(5)?,
            runs_on: row.get(6)?,
            depends_on: row.get::<_, Json<Vec<String>>>(7)?.0,
            tags: row.get::<_, Json<Vec<String>>>(9)?.0,
            version: row.get(10)?,
        };
        let dates = Dates { created_at: row.get(11)?, updated_at: row.get(12)?, updated_by: row.get(13)? };
        Ok(Service { endpoint, notes: row.get(8)?, dates })
    }

    fn name(&self) -> &str {
        &self.endpoint.name
    }

    fn version(&self) -> i64 {
        self.endpoint.version
    }

    fn marks(&mut self) -> (&mut i64, &mut Dates) {
        (&mut self.endpoint.version, &mut self.dates)
    }

    fn settle(&mut self, conn: &Connection, before: Option<&Service>) -> Result<()> {
        let stored = before.map(|before| &before.endpoint);
        let endpoint = &mut self.endpoint;
        let stored_place = stored.and_then(|stored| stored.runs_on.as_ref());
        if let Some(place) = endpoint.runs_on.as_ref().filter(|place| Some(*place) != stored_place) {
            endpoint.runs_on = Some(links::resolve_link(conn, "runs_on", place, &[Kind::Host, Kind::Vm])?);
        }
        for name in &mut endpoint.depends_on {
            if stored.is_some_and(|stored| stored.depends_on.contains(name)) {
                continue;
            }
            if name.eq_ignore_ascii_case(&endpoint.name) {
                return Err(Error::invalid("depends_on", format_args!("`{name}` cannot depend on itself")));
            }
            *name = links::resolve(conn, "depends_on", Kind::Service, name)?;
        }
        let relative = endpoint.health_endpoint.as_ref().filter(|path| !is_absolute(path));
        if let (Some(path), None) = (relative, &endpoint.url) {
            return Err(Error::invalid(
                "health_endpoint",
                format_args!("`{path}` is below a `url`, and there is none"),
            ));
        }
        Ok(())
    }

    fn save(&self, tx: &Transaction<'_>) -> Result<()> {
        let (endpoint, dates) = (&self.endpoint, &self.dates);
        let (depends_on, tags) = (Json(&endpoint.depends_on), Json(&endpoint.tags));
        let values: [&dyn ToSql; 14] = [
            &endpoint.name,
            &endpoint.kind,
            &endpoint.url,
            &endpoint.health_endpoint,
            &endpoint.port,
            &endpoint.protocol,
            &endpoint.runs_on,
            &depends_on,
            &self.notes,
            &tags,
            &endpoint.version,
            &dates.created_at,
            &dates.updated_at,
            &dates.updated_by,
        ];
        tx.prepare_cached(SAVE)?.execute(&values[..])?;
        Ok(())
    }

    fn refers_to(&self) -> Vec<(Kind, String)> {
        let needs = self.endpoint.depends_on.iter().map(|name| (Kind::Service, name.clone()));
        self.endpoint.runs_on.as_deref().and_then(links::parts).into_iter().chain(needs).collect()
    }

    fn holds(&self) -> Vec<IpAddr> {
        let urls = [&self.endpoint.url, &self.endpoint.health_endpoint];
        let hosts = urls.into_iter().flatten().filter_map(|url| match Url::parse(url).ok()?.host()? {
            Host::Ipv4(ip) => Some(IpAddr::V4(ip)),
            Host::Ipv6(ip) => Some(IpAddr::V6(ip).to_canonical()),
            Host::Domain(_) => None,
        });
        hosts.collect()
    }

    fn words(&self) -> Vec<String> {
        let endpoint = &self.endpoint;
        let mut words = vec![endpoint.kind.clone()];
        let texts = [&endpoint.url, &endpoint.health_endpoint, &endpoint.protocol, &endpoint.runs_on];
        words.extend(texts.into_iter().flatten().cloned());
        words.extend(endpoint.port.map(|port| format!("port {port}")));
        words.extend(endpoint.depends_on.iter().chain(&endpoint.tags).cloned());
        words.extend(self.notes.clone());
        words
    }

    fn dependents(&self, conn: &Connection) -> Result<Dependents> {
        Ok(Dependents {
            vms: Vec::new(),
            services: links::services_needing(conn, self.name())?,
            addresses: links::addresses_of(conn, Kind::Service, self.name())?,
        })
    }

    fn brief(self, _: &Connection) -> Result<Endpoint> {
        Ok(self.endpoint)
    }

    fn show(self, _: &Connection) -> Result<Service> {
        Ok(self)
    }
}
