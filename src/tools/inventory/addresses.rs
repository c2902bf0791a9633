//! Tools for IP addresses.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Named, Notes};
use crate::app::{Context, Event, Level};
use crate::error::Result;
use crate::registry::{Effect, Tool};
use crate::store::inventory::addresses::{self, Allocation, Known, Request};
use crate::store::inventory::{AllocationKind, Kind};
use crate::text::{Line, Text};

/// Tell who has an IP address
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LookupIp {
    /// IP address
    address: Line<64>,
}

impl Tool for LookupIp {
    const NAME: &'static str = "inventory_lookup_ip";
    const LEVEL: Level = Level::Monitor;
    const EFFECT: Effect = Effect::Read;
    const ROUTE: &'static str = "GET /api/inventory/addresses/{address}";
    type Output = Known;

    async fn run(self, cx: &Context) -> Result<Known> {
        let ip = addresses::parse("address", &self.address)?;
        cx.read(move |conn| addresses::look_up(conn, ip)).await
    }
}

/// Allocate an IP address of a network
///
/// Without `address` the lowest free one outside of the DHCP range.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AllocateIp {
    /// Network
    network: Named,
    /// This very address
    address: Option<Line<64>>,
    /// As `host:nas`, `vm:plex`, `service:dns`
    assigned_to: Option<Line<80>>,
    /// Host name
    hostname: Option<Text<0, 253>>,
    /// Kind; `static` if left out
    kind: Option<AllocationKind>,
    /// Notes
    notes: Option<Notes>,
}

impl Tool for AllocateIp {
    const NAME: &'static str = "inventory_allocate_ip";
    const LEVEL: Level = Level::Configure;
    const EFFECT: Effect = Effect::Write;
    const ROUTE: &'static str = "POST /api/inventory/networks/{network}/addresses";
    type Output = Allocation;

    async fn run(self, cx: &Context) -> Result<Allocation> {
        let (mut hostname, mut notes) = (None, None);
        super::set_line(&mut hostname, "hostname", self.hostname)?;
        super::set_text(&mut notes, self.notes);
        let request = Request {
            network: self.network.into_string(),
            address: self.address.map(|text| addresses::parse("address", &text)).transpose()?,
            kind: self.kind.unwrap_or(AllocationKind::Static),
            assigned_to: self.assigned_to.map(Line::into_string),
            hostname,
            notes,
        };
        let author = super::author(cx);
        let allocation = cx.write(move |tx| addresses::allocate(tx, &author, request)).await?;
        cx.publish(Event::changed(super::uri(Kind::Network, &allocation.network)));
        Ok(allocation)
    }
}

/// Take an allocated IP address back
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseIp {
    /// IP address
    address: Line<64>,
}

impl Tool for ReleaseIp {
    const NAME: &'static str = "inventory_release_ip";
    const LEVEL: Level = Level::Configure;
    const EFFECT: Effect = Effect::Write;
    const ROUTE: &'static str = "DELETE /api/inventory/addresses/{address}";
    type Output = Allocation;

    async fn run(self, cx: &Context) -> Result<Allocation> {
        let ip = addresses::parse("address", &self.address)?;
        let author = super::author(cx);
        let released = cx.write(move |tx| addresses::release(tx, &author, ip)).await?;
        cx.publish(Event::changed(super::uri(Kind::Network, &released.network)));
        Ok(released)
    }
}
