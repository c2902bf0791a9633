//! IP addresses: who has which, and the allocations of the networks.
//!
//! Invariant: an address has one allocation at most, and is given to nobody while a host or VM
//! other than the one it is for has it.

use std::net::{IpAddr, Ipv6Addr};

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use schemars::JsonSchema;
use serde::Serialize;

use super::links::{self, column};
use super::networks::{self, Network};
use super::words::{AllocationKind, Kind};
use super::{Author, changes, record, search, services};
use crate::clock::Timestamp;
use crate::error::{Error, Result};

/// An address that a network has given away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Allocation {
    pub address: IpAddr,
    pub network: String,
    pub kind: AllocationKind,
    /// `host:NAME`, `vm:NAME` or `service:NAME`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assigned_to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    pub created_at: Timestamp,
    pub created_by: String,
}

/// An allocation that somebody asks for; without an address it is the lowest free one.
#[derive(Clone, Debug)]
pub struct Request {
    pub network: String,
    pub address: Option<IpAddr>,
    pub kind: AllocationKind,
    pub assigned_to: Option<String>,
    pub hostname: Option<String>,
    pub notes: Option<String>,
}

/// All that is known of an address.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Known {
    pub address: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocation: Option<Allocation>,
    pub hosts: Vec<String>,
    pub vms: Vec<String>,
    pub services: Vec<String>,
    /// Nobody has it and its network may give it away
    pub free: bool,
}

/// The most used addresses that are walked past in search of a free one.
const WALK: usize = 1 << 17;
/// The most holders of one address that are named.
const HOLDERS: i64 = 100;

const SELECT: &str = "select address, networks.name, kind, assigned_to, hostname, addresses.notes,
       addresses.created_at, created_by
     from addresses join networks using (network_id)";

const INSERT: &str =
    "insert into addresses (address, position, network_id, kind, assigned_to, hostname, notes, created_at, created_by)
     values (?1, ?2, (select network_id from networks where name = ?3), ?4, ?5, ?6, ?7, ?8, ?9)";

/// Allocated or held, in order.
const USED: &str = "select position from addresses where position between ?1 and ?2
     union select position from holders where position between ?1 and ?2 order by 1";

/// An address as `field` of the input gives it, in its one spelling.
pub fn parse(field: &str, text: &str) -> Result<IpAddr> {
    let text = text.trim();
    let Ok(ip) = text.parse::<IpAddr>() else {
        let message = match text.contains('/') {
            true => format!("`{text}` is a range; give an address alone"),
            false => format!("`{text}` is not an IP address"),
        };
        return Err(Error::invalid(field, message));
    };
    let ip = ip.to_canonical();
    let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    if ip.is_unspecified() || ip.is_multicast() || ip.is_loopback() || is_broadcast {
        return Err(Error::invalid(field, format_args!("{ip} is not the address of one machine")));
    }
    Ok(ip)
}

/// The place of an address among all addresses.
pub fn position(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

fn address_at(position: u128) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from_bits(position)).to_canonical()
}

/// Notes which addresses a record has, in the place of those it had.
pub fn hold(tx: &Transaction<'_>, kind: Kind, name: &str, addresses: &[IpAddr]) -> Result<()> {
    tx.prepare_cached("delete from holders where kind = ?1 and name = ?2")?.execute(params![kind, name])?;
    let mut insert = tx.prepare_cached("insert or ignore into holders (position, kind, name) values (?1, ?2, ?3)")?;
    for address in addresses {
        insert.execute(params![position(*address).to_be_bytes(), kind, name])?;
    }
    Ok(())
}

fn holders(conn: &Connection, ip: IpAddr, kind: Kind) -> Result<Vec<String>> {
    let sql = "select name from holders where position = ?1 and kind = ?2 order by name limit ?3";
    column(conn, sql, &[&position(ip).to_be_bytes(), &kind, &HOLDERS])
}

/// Fails if another host or VM has one of `addresses`, or an allocation gives one to another.
pub fn check_unheld(conn: &Connection, kind: Kind, name: &str, addresses: &[IpAddr]) -> Result<()> {
    let own = format!("{kind}:{name}");
    for &ip in addresses {
        check_no_machine_has(conn, ip, Some(&own))?;
        let Some(allocation) = find(conn, ip)? else { continue };
        // A service's address is one that its host has as well.
        let other = allocation.assigned_to.filter(|to| !to.eq_ignore_ascii_case(&own) && !to.starts_with("service:"));
        if let Some(other) = other {
            return Err(Error::conflict(format_args!("{ip} is allocated to {other}"))
                .with_hint(format_args!("inventory_release_ip frees {ip}")));
        }
    }
    Ok(())
}

fn check_no_machine_has(conn: &Connection, ip: IpAddr, except: Option<&str>) -> Result<()> {
    for kind in [Kind::Host, Kind::Vm] {
        let others = holders(conn, ip, kind)?;
        let is_other = |name: &&String| except.is_none_or(|own| !own.eq_ignore_ascii_case(&format!("{kind}:{name}")));
        if let Some(name) = others.iter().find(is_other) {
            return Err(Error::conflict(format_args!("{ip} is an address of {kind} `{name}`"))
                .with_hint(format_args!("inventory_put_{kind} changes its addresses")));
        }
    }
    Ok(())
}

/// Gives an address of a network away.
pub fn allocate(tx: &Transaction<'_>, author: &Author, request: Request) -> Result<Allocation> {
    let network: Network = record::get(tx, &request.network)?;
    let kinds = [Kind::Host, Kind::Vm, Kind::Service];
    let assigned_to = match &request.assigned_to {
        Some(link) => Some(links::resolve_link(tx, "assigned_to", link, &kinds)?),
        None => None,
    };
    let address = match request.address {
        Some(ip) => {
            check_free(tx, &network, ip, request.kind, assigned_to.as_deref())?;
            ip
        }
        None => next_free(tx, &network)?,
    };
    let allocation = Allocation {
        address,
        network: network.range.name,
        kind: request.kind,
        assigned_to,
        hostname: request.hostname,
        notes: request.notes,
        created_at: author.at,
        created_by: author.by.clone(),
    };
    let text = address.to_string();
    tx.prepare_cached(INSERT)?.execute(params![
        text,
        position(address).to_be_bytes(),
        allocation.network,
        allocation.kind,
        allocation.assigned_to,
        allocation.hostname,
        allocation.notes,
        allocation.created_at,
        allocation.created_by
    ])?;
    search::index(tx, Kind::Address, &text, &allocation.words())?;
    changes::append(tx, author, Kind::Address, &text, None, Some(&allocation))?;
    Ok(allocation)
}

/// Fails, with the holder's name, unless the address can be given to `assigned_to`.
fn check_free(
    conn: &Connection,
    network: &Network,
    ip: IpAddr,
    kind: AllocationKind,
    assigned_to: Option<&str>,
) -> Result<()> {
    let (name, cidr) = (&network.range.name, network.range.cidr);
    if !cidr.contains(&ip) {
        let error = Error::invalid("address", format_args!("{ip} is not in network `{name}` ({cidr})"));
        return Err(match networks::containing(conn, ip)? {
            Some(other) => error.with_hint(format_args!("it is in network `{}`", other.range.name)),
            None => error,
        });
    }
    let (first, last) = network.usable();
    if !(first..=last).contains(&position(ip)) {
        let role = if position(ip) < first { "network" } else { "broadcast" };
        return Err(Error::invalid("address", format_args!("{ip} is the {role} address of `{name}`")));
    }
    if let Some(allocation) = find(conn, ip)? {
        return Err(Error::conflict(format_args!("{ip} is allocated to {}", allocation.holder()))
            .with_hint("inventory_release_ip frees it; leave `address` out for the next free one"));
    }
    check_no_machine_has(conn, ip, assigned_to)?;
    if network.range.gateway == Some(ip) && assigned_to.is_none() {
        return Err(Error::conflict(format_args!("{ip} is the gateway of network `{name}`"))
            .with_hint("name the router in `assigned_to`"));
    }
    if network.is_dynamic(ip) && kind != AllocationKind::Dhcp {
        return Err(Error::conflict(format_args!("{ip} is in the DHCP range of network `{name}`"))
            .with_hint("kind `dhcp` notes a lease that the DHCP server keeps for one machine"));
    }
    Ok(())
}

/// The lowest address that nobody has, beside the gateway and the DHCP range.
fn next_free(conn: &Connection, network: &Network) -> Result<IpAddr> {
    let (first, last) = network.usable();
    let mut candidate = network.skip(first);
    let mut statement = conn.prepare_cached(USED)?;
    let mut rows = statement.query(params![first.to_be_bytes(), last.to_be_bytes()])?;
    let mut n_walked = 0;
    while let (Some(row), true) = (rows.next()?, n_walked < WALK) {
        let used = u128::from_be_bytes(row.get(0)?);
        if candidate < used {
            break;
        }
        if used == candidate {
            candidate = network.skip(candidate + 1);
        }
        n_walked += 1;
    }
    let (name, cidr) = (&network.range.name, network.range.cidr);
    if n_walked == WALK {
        return Err(Error::conflict(format_args!(
            "network `{name}` ({cidr}) has no gap in its first {WALK} addresses"
        ))
        .with_hint("name the address to allocate"));
    }
    if last < candidate {
        return Err(Error::conflict(format_args!("network `{name}` ({cidr}) has no free address"))
            .with_hint("inventory_release_ip frees one; a smaller DHCP range leaves more"));
    }
    Ok(address_at(candidate))
}

/// Addresses of an IPv4 network that [`allocate`] could still give away.
pub fn free(conn: &Connection, network: &Network) -> Result<i64> {
    let (first, last) = network.usable();
    let reserved = network.reserved();
    let n_reserved: u128 = reserved.iter().map(|(from, to)| to - from + 1).sum();
    let mut statement = conn.prepare_cached(USED)?;
    let mut rows = statement.query(params![first.to_be_bytes(), last.to_be_bytes()])?;
    let mut n_used = 0u128;
    while let Some(row) = rows.next()? {
        let used = u128::from_be_bytes(row.get(0)?);
        if !reserved.iter().any(|(from, to)| (from..=to).contains(&&used)) {
            n_used += 1;
        }
    }
    let n_free = (last - first + 1).saturating_sub(n_reserved).saturating_sub(n_used);
    Ok(i64::try_from(n_free).unwrap_or(i64::MAX))
}

/// Takes an allocation back.
pub fn release(tx: &Transaction<'_>, author: &Author, ip: IpAddr) -> Result<Allocation> {
    let Some(allocation) = find(tx, ip)? else { return Err(links::unknown(tx, Kind::Address, &ip.to_string())?) };
    let text = ip.to_string();
    tx.prepare_cached("delete from addresses where address = ?1")?.execute([&text])?;
    search::forget(tx, Kind::Address, &text)?;
    changes::append(tx, author, Kind::Address, &text, Some(&allocation), None)?;
    Ok(allocation)
}

pub fn find(conn: &Connection, ip: IpAddr) -> Result<Option<Allocation>> {
    let sql = format!("{SELECT} where address = ?1");
    Ok(conn.prepare_cached(&sql)?.query_row([ip.to_string()], Allocation::read).optional()?)
}

/// The allocations of a network in order, at most `limit`.
pub fn of_network(conn: &Connection, network: &str, limit: u32) -> Result<Vec<Allocation>> {
    let sql = format!("{SELECT} where networks.name = ?1 order by position limit ?2");
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map(params![network, limit], Allocation::read)?;
    Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?)
}

/// Everything about one address.
pub fn look_up(conn: &Connection, ip: IpAddr) -> Result<Known> {
    let network = networks::containing(conn, ip)?;
    let allocation = find(conn, ip)?;
    let hosts = holders(conn, ip, Kind::Host)?;
    let vms = holders(conn, ip, Kind::Vm)?;
    let mut services = holders(conn, ip, Kind::Service)?;
    let is_unused = allocation.is_none() && hosts.is_empty() && vms.is_empty() && services.is_empty();
    let free = is_unused && network.as_ref().is_some_and(|network| network.gives(ip));
    let hostname = allocation.as_ref().and_then(|allocation| allocation.hostname.as_ref());
    for name in hosts.iter().chain(&vms).chain(hostname) {
        services.extend(services::at_host(conn, name)?);
    }
    services.sort_unstable();
    services.dedup();
    Ok(Known {
        address: ip,
        network: network.map(|network| network.range.name),
        allocation,
        hosts,
        vms,
        services,
        free,
    })
}

impl Allocation {
    fn read(row: &Row<'_>) -> rusqlite::Result<Allocation> {
        Ok(Allocation {
            address: row.get::<_, super::Parsed<IpAddr>>(0)?.0,
            network: row.get(1)?,
            kind: row.get(2)?,
            assigned_to: row.get(3)?,
            hostname: row.get(4)?,
            notes: row.get(5)?,
            created_at: row.get(6)?,
            created_by: row.get(7)?,
        })
    }

    fn holder(&self) -> String {
        let to = self.assigned_to.clone().or_else(|| self.hostname.clone());
        to.unwrap_or_else(|| format!("nobody in particular, as {}, by {}", self.kind, self.created_by))
    }

    fn words(&self) -> Vec<String> {
        let optional = [&self.assigned_to, &self.hostname, &self.notes];
        let first = [self.kind.to_string(), self.network.clone()];
        first.into_iter().chain(optional.into_iter().flatten().cloned()).collect()
    }
}
