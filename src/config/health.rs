//! `[health]`: where health checks may connect beyond the networks of the lab.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::table::{Item, Section};
use crate::adapter::vet::Policy;

/// What the guard of health checks lets through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Ranges such as Docker's bridge that are denied otherwise
    pub allow: Vec<IpNet>,
    /// Whether services on this machine may be checked
    pub allow_loopback: bool,
}

pub(super) const KEYS: &[&str] = &["allow", "allow_loopback"];

impl Health {
    /// The guard, which also keeps checks from the appliance's own listeners.
    pub fn policy(&self, own_addresses: Vec<SocketAddr>) -> Policy {
        Policy { allow_loopback: self.allow_loopback, own_addresses, allow: self.allow.clone() }
    }

    pub(super) fn read(section: &Section<'_>) -> Health {
        Health {
            allow: section.items("allow").iter().filter_map(range).collect(),
            allow_loopback: section.boolean("allow_loopback", false),
        }
    }
}

fn range(item: &Item<'_>) -> Option<IpNet> {
    if let Ok(ip) = item.text()?.parse::<IpAddr>() {
        return Some(IpNet::from(ip));
    }
    Some(item.parsed::<IpNet>("a range such as \"172.17.0.0/16\" or an address")?.trunc())
}
