//! Tools for networks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Named, Notes, Short};
use crate::app::{Context, Level};
use crate::error::Result;
use crate::page::{Limit, Page, decode_cursor};
use crate::registry::{Effect, Plan, Tool};
use crate::store::inventory::addresses::{self, Allocation};
use crate::store::inventory::networks::{self, Network, Range, Used};
use crate::store::inventory::record::{self, Record, Removed};
use crate::text::{Line, Name};

const VLAN_MAX: i64 = 4094;
/// The most allocations of one network that are shown with it; `allocated` counts them all.
const ALLOCATIONS: u32 = 1000;

/// List networks by name
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListNetworks {
    /// Page size
    #[serde(default)]
    limit: Limit,
    /// Page
    cursor: Option<String>,
}

impl Tool for ListNetworks {
    const NAME: &'static str = "inventory_list_networks";
    const LEVEL: Level = Level::Monitor;
    const EFFECT: Effect = Effect::Read;
    const ROUTE: &'static str = "GET /api/inventory/networks";
    type Output = Page<Used<Range>>;

    async fn run(self, cx: &Context) -> Result<Page<Used<Range>>> {
        let after = decode_cursor(self.cursor.as_deref())?;
        // Counting what is free scans the addresses of each network.
        cx.read(move |conn| networks::list(conn, after, self.limit)).await
    }
}

/// Show a network with its allocations, the first 1000
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetNetwork {
    /// Network
    name: Named,
}

#[derive(Serialize, JsonSchema)]
pub struct NetworkWithAllocations {
    #[serde(flatten)]
    network: Used<Network>,
    allocations: Vec<Allocation>,
}

impl Tool for GetNetwork {
    const NAME: &'static str = "inventory_get_network";
    const LEVEL: Level = Level::Monitor;
    const EFFECT: Effect = Effect::Read;
    const ROUTE: &'static str = "GET /api/inventory/networks/{name}";
    type Output = NetworkWithAllocations;

    async fn run(self, cx: &Context) -> Result<NetworkWithAllocations> {
        cx.read(move |conn| {
            let network = record::get::<Network>(conn, &self.name)?.show(conn)?;
            let allocations = addresses::of_network(conn, &self.name, ALLOCATIONS)?;
            Ok(NetworkWithAllocations { network, allocations })
        })
        .await
    }
}

/// Make or change a network
///
/// What is left out stays; an empty text or list, or 0, clears.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PutNetwork {
    /// Network
    name: Name,
    /// As 192.168.1.0/24; a new network needs it
    cidr: Option<Line<64>>,
    /// VLAN
    vlan: Option<i64>,
    /// Router
    gateway: Option<Short>,
    /// Name servers
    dns: Option<Vec<Line<64>>>,
    /// First address of the DHCP range
    dhcp_from: Option<Short>,
    /// Last address of the DHCP range
    dhcp_to: Option<Short>,
    /// Notes
    notes: Option<Notes>,
    /// Fail unless it is at this version; 0 if new
    if_version: Option<i64>,
}

impl Tool for PutNetwork {
    const NAME: &'static str = "inventory_put_network";
    const LEVEL: Level = Level::Configure;
    const EFFECT: Effect = Effect::Write;
    const ROUTE: &'static str = "PUT /api/inventory/networks/{name}";
    type Output = Used<Network>;

    async fn run(self, cx: &Context) -> Result<Used<Network>> {
        super::put(cx, self.name.into_string(), self.if_version, move |network: &mut Network| {
            let range = &mut network.range;
            if let Some(cidr) = self.cidr {
                range.cidr = networks::parse_cidr(&cidr)?;
            }
            super::set_number(&mut range.vlan, "vlan", self.vlan, VLAN_MAX)?;
            super::set_address(&mut range.gateway, "gateway", self.gateway)?;
            super::set_addresses(&mut range.dns, "dns", self.dns)?;
            super::set_address(&mut range.dhcp_from, "dhcp_from", self.dhcp_from)?;
            super::set_address(&mut range.dhcp_to, "dhcp_to", self.dhcp_to)?;
            super::set_text(&mut network.notes, self.notes);
            Ok(())
        })
        .await
    }
}

/// Remove a network that has no allocations
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveNetwork {
    /// Network
    name: Named,
}

impl Tool for RemoveNetwork {
    const NAME: &'static str = "inventory_remove_network";
    const LEVEL: Level = Level::Configure;
    const EFFECT: Effect = Effect::Destructive;
    const ROUTE: &'static str = "DELETE /api/inventory/networks/{name}";
    type Output = Removed;

    async fn plan(&self, cx: &Context) -> Result<Plan> {
        super::plan_removal::<Network>(cx, &self.name).await
    }

    async fn run(self, cx: &Context) -> Result<Removed> {
        super::remove::<Network>(cx, self.name.into_string()).await
    }
}
