//! Networks: a range of addresses, who routes it, and what of it the DHCP server gives away.

use std::net::IpAddr;

use ipnet::IpNet;
use rusqlite::{Connection, Row, ToSql, Transaction, params};
use schemars::JsonSchema;
use serde::Serialize;

use super::links::Dependents;
use super::record::{self, Record};
use super::{Dates, Json, Kind, Parsed, addresses};
use crate::error::{Error, Result};
use crate::page::{Limit, Page};

/// What a list tells of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Range {
    pub name: String,
    #[schemars(with = "String")]
    pub cidr: IpNet,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    pub dns: Vec<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dhcp_from: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dhcp_to: Option<IpAddr>,
    pub version: i64,
}

/// A network as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Network {
    #[serde(flatten)]
    pub range: Range,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    #[serde(flatten)]
    pub dates: Dates,
}

/// How much of a network is given away.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Usage {
    pub allocated: i64,
    /// Of IPv4 only
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free: Option<i64>,
}

/// A network or its range, with its usage.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Used<T> {
    #[serde(flatten)]
    pub network: T,
    #[serde(flatten)]
    pub usage: Usage,
}

const SELECT: &str = "select name, cidr, vlan, gateway, dns, dhcp_from, dhcp_to, notes, version,
       created_at, updated_at, updated_by
     from networks";

const SAVE: &str = "insert into networks (name, cidr, vlan, gateway, dns, dhcp_from, dhcp_to, notes, version,
       created_at, updated_at, updated_by)
     values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
     on conflict (name) do update set cidr = excluded.cidr, vlan = excluded.vlan, gateway = excluded.gateway,
       dns = excluded.dns, dhcp_from = excluded.dhcp_from, dhcp_to = excluded.dhcp_to, notes = excluded.notes,
       version = excluded.version, updated_at = excluded.updated_at, updated_by = excluded.updated_by";

/// Networks after the name `after`.
pub fn list(conn: &Connection, after: Option<String>, limit: Limit) -> Result<Page<Used<Range>>> {
    record::list::<Network>(conn, "true", &[], after, limit)
}

/// The network that an address is in.
pub fn containing(conn: &Connection, ip: IpAddr) -> Result<Option<Network>> {
    Ok(ranges(conn)?.into_iter().find(|network| network.range.cidr.contains(&ip)))
}

fn ranges(conn: &Connection) -> Result<Vec<Network>> {
    let mut statement = conn.prepare_cached(SELECT)?;
    let rows = statement.query_map([], Network::read)?;
    Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?)
}

/// A range as a person writes it; one with bits of a host is refused with the range that was meant.
pub fn parse_cidr(text: &str) -> Result<IpNet> {
    let text = text.trim();
    let Ok(cidr) = text.parse::<IpNet>() else {
        return Err(Error::invalid(
            "cidr",
            format_args!("`{text}` is not a range such as 192.168.1.0/24 or fd00:1::/64"),
        ));
    };
    let meant = cidr.trunc();
    if cidr != meant {
        return Err(Error::invalid("cidr", format_args!("{cidr} has bits of a host; the network is {meant}")));
    }
    if matches!(cidr, IpNet::V6(range) if range.network().to_ipv4_mapped().is_some()) {
        return Err(Error::invalid("cidr", "write an IPv4 range as IPv4"));
    }
    Ok(cidr)
}

impl Network {
    /// The first and last position that a machine may have.
    pub fn usable(&self) -> (u128, u128) {
        let cidr = self.range.cidr;
        let (first, last) = (addresses::position(cidr.network()), addresses::position(cidr.broadcast()));
        let host_bits = cidr.max_prefix_len() - cidr.prefix_len();
        match cidr {
            // Two addresses or one: a link between two machines, or a machine alone.
            _ if host_bits <= 1 => (first, last),
            IpNet::V4(_) => (first + 1, last - 1),
            // IPv6 has no broadcast, but its first address means every router.
            IpNet::V6(_) => (first + 1, last),
        }
    }

    /// What is not given away by itself, as positions from and to, none twice.
    pub fn reserved(&self) -> Vec<(u128, u128)> {
        let dynamic = self.dynamic();
        let mut reserved: Vec<(u128, u128)> = dynamic.into_iter().collect();
        let (first, last) = self.usable();
        if let Some(gateway) = self.range.gateway.map(addresses::position) {
            let is_within = dynamic.is_some_and(|(from, to)| (from..=to).contains(&gateway));
            if !is_within && (first..=last).contains(&gateway) {
                reserved.push((gateway, gateway));
            }
        }
        reserved
    }

    fn dynamic(&self) -> Option<(u128, u128)> {
        Some((addresses::position(self.range.dhcp_from?), addresses::position(self.range.dhcp_to?)))
    }

    /// Whether the DHCP server gives the address away.
    pub fn is_dynamic(&self, ip: IpAddr) -> bool {
        self.dynamic().is_some_and(|(from, to)| (from..=to).contains(&addresses::position(ip)))
    }

    /// The next position, beginning at `position`, that is not reserved.
    pub fn skip(&self, mut position: u128) -> u128 {
        let reserved = self.reserved();
        while let Some((_, to)) = reserved.iter().find(|(from, to)| (from..=to).contains(&&position)) {
            position = to + 1;
        }
        position
    }

    /// Whether the address could be given away if nobody had it.
    pub fn gives(&self, ip: IpAddr) -> bool {
        let position = addresses::position(ip);
        let (first, last) = self.usable();
        (first..=last).contains(&position) && self.skip(position) == position
    }

    fn usage(&self, conn: &Connection) -> Result<Usage> {
        let free = match self.range.cidr {
            IpNet::V4(_) => Some(addresses::free(conn, self)?),
            IpNet::V6(_) => None,
        };
        Ok(Usage { allocated: self.n_allocated(conn)?, free })
    }

    fn n_allocated(&self, conn: &Connection) -> Result<i64> {
        let sql = "select count(*) from addresses join networks using (network_id) where networks.name = ?1";
        Ok(conn.prepare_cached(sql)?.query_row([&self.range.name], |row| row.get(0))?)
    }

    fn check_within(&self, field: &str, ip: Option<IpAddr>) -> Result<()> {
        let (Some(ip), cidr) = (ip, self.range.cidr) else { return Ok(()) };
        // A router on the same link may have an address outside of an IPv6 range.
        let is_link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        let may_be_outside = field == "gateway" && is_link_local && matches!(cidr, IpNet::V6(_));
        let (first, last) = self.usable();
        if may_be_outside || (first..=last).contains(&addresses::position(ip)) {
            return Ok(());
        }
        let role = if cidr.contains(&ip) { "is the first or last address of" } else { "is not in" };
        Err(Error::invalid(field, format_args!("{ip} {role} {cidr}")))
    }

    fn check_overlap(&self, conn: &Connection) -> Result<()> {
        let cidr = self.range.cidr;
        let overlaps = |other: &Network| {
            let (name, range) = (&other.range.name, other.range.cidr);
            !name.eq_ignore_ascii_case(&self.range.name) && (range.contains(&cidr) || cidr.contains(&range))
        };
        let Some(other) = ranges(conn)?.into_iter().find(overlaps) else { return Ok(()) };
        Err(Error::conflict(format_args!("{cidr} overlaps network `{}` ({})", other.range.name, other.range.cidr)))
    }

    /// A range that moves takes no allocation out of it.
    fn check_allocations(&self, conn: &Connection) -> Result<()> {
        let (first, last) = self.usable();
        let sql = "select count(*), min(address) from addresses join networks using (network_id)
             where networks.name = ?1 and position not between ?2 and ?3";
        let (n_outside, example): (i64, Option<String>) = conn
            .prepare_cached(sql)?
            .query_row(params![self.range.name, first.to_be_bytes(), last.to_be_bytes()], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        let Some(example) = example else { return Ok(()) };
        Err(Error::conflict(format_args!(
            "{n_outside} allocations of network `{}` are not in {}, such as {example}",
            self.range.name, self.range.cidr
        ))
        .with_hint("inventory_release_ip takes them back"))
    }
}

/// No network: what a new one has until its range is set.
fn unset() -> IpNet {
    IpNet::from(IpAddr::from([0, 0, 0, 0]))
}

impl Record for Network {
    const KIND: Kind = Kind::Network;
    const SELECT: &'static str = SELECT;
    const DELETE: &'static str = "delete from networks where name = ?1";
    type Brief = Used<Range>;
    type Shown = Used<Network>;

    fn new(name: String) -> Network {
        let range = Range {
            name,
            cidr: unset(),
            vlan: None,
            gateway: None,
            dns: Vec::new(),
            dhcp_from: None,
            dhcp_to: None,
            version: 0,
        };
        Network { range, notes: None, dates: Dates::default() }
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Network> {
        let range = Range {
            name: row.get(0)?,
            cidr: row.get::<_, Parsed<IpNet>>(1)?.0,
            vlan: row.get(2)?,
            gateway: row.get::<_, Option<Parsed<IpAddr>>>(3)?.map(|Parsed(ip)| ip),
            dns: row.get::<_, Json<Vec<IpAddr>>>(4)?.0,
            dhcp_from: row.get::<_, Option<Parsed<IpAddr>>>(5)?.map(|Parsed(ip)| ip),
            dhcp_to: row.get::<_, Option<Parsed<IpAddr>>>(6)?.map(|Parsed(ip)| ip),
            version: row.get(8)?,
        };
        let dates = Dates { created_at: row.get(9)?, updated_at: row.get(10)?, updated_by: row.get(11)? };
        Ok(Network { range, notes: row.get(7)?, dates })
    }

    fn name(&self) -> &str {
        &self.range.name
    }

    fn version(&self) -> i64 {
        self.range.version
    }

    fn marks(&mut self) -> (&mut i64, &mut Dates) {
        (&mut self.range.version, &mut self.dates)
    }

    fn settle(&mut self, conn: &Connection, before: Option<&Network>) -> Result<()> {
        let range = &self.range;
        if range.cidr == unset() {
            return Err(Error::invalid("cidr", "a new network needs one, such as 192.168.1.0/24"));
        }
        match (range.dhcp_from, range.dhcp_to) {
            (Some(from), Some(to)) if addresses::position(to) < addresses::position(from) => {
                return Err(Error::invalid("dhcp_to", format_args!("{to} comes before `dhcp_from`, {from}")));
            }
            (Some(_), None) => return Err(Error::invalid("dhcp_to", "is needed with `dhcp_from`")),
            (None, Some(_)) => return Err(Error::invalid("dhcp_from", "is needed with `dhcp_to`")),
            _ => {}
        }
        self.check_within("gateway", range.gateway)?;
        self.check_within("dhcp_from", range.dhcp_from)?;
        self.check_within("dhcp_to", range.dhcp_to)?;
        if before.is_none_or(|before| before.range.cidr != range.cidr) {
            self.check_overlap(conn)?;
            self.check_allocations(conn)?;
        }
        Ok(())
    }

    fn save(&self, tx: &Transaction<'_>) -> Result<()> {
        let (range, dates) = (&self.range, &self.dates);
        let text = |ip: Option<IpAddr>| ip.map(|ip| ip.to_string());
        let (gateway, from, to) = (text(range.gateway), text(range.dhcp_from), text(range.dhcp_to));
        let (cidr, dns) = (range.cidr.to_string(), Json(&range.dns));
        let values: [&dyn ToSql; 12] = [
            &range.name,
            &cidr,
            &range.vlan,
            &gateway,
            &dns,
            &from,
            &to,
            &self.notes,
            &range.version,
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
        Vec::new()
    }

    fn words(&self) -> Vec<String> {
        let range = &self.range;
        let mut words = vec![range.cidr.to_string()];
        words.extend(range.vlan.map(|vlan| format!("vlan {vlan}")));
        words.extend(range.gateway.iter().chain(&range.dns).map(IpAddr::to_string));
        words.extend(self.notes.clone());
        words
    }

    fn dependents(&self, _: &Connection) -> Result<Dependents> {
        Ok(Dependents::default())
    }

    fn check_removal(&self, conn: &Connection) -> Result<()> {
        match self.n_allocated(conn)? {
            0 => Ok(()),
            n => Err(Error::conflict(format_args!(
                "network `{}` still has {n} of its addresses allocated",
                self.range.name
            ))
            .with_hint("inventory_get_network names them and inventory_release_ip takes them back")),
        }
    }

    fn brief(self, conn: &Connection) -> Result<Used<Range>> {
        Ok(Used { usage: self.usage(conn)?, network: self.range })
    }

    fn show(self, conn: &Connection) -> Result<Used<Network>> {
        Ok(Used { usage: self.usage(conn)?, network: self })
    }
}
