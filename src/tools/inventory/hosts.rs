//! Tools for hosts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Named, Notes, Short, Tag};
use crate::app::{Context, Level};
use crate::error::Result;
use crate::page::{Limit, Page, decode_cursor};
use crate::registry::{Effect, Plan, Tool};
use crate::store::inventory::hosts::{self, Filter, Host, Machine};
use crate::store::inventory::record::{self, Removed};
use crate::store::inventory::{HostKind, Kind, links};
use crate::text::{Line, Name};

/// List hosts by name
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListHosts {
    /// Kind
    kind: Option<HostKind>,
    /// Tag
    tag: Option<Tag>,
    /// Page size
    #[serde(default)]
    limit: Limit,
    /// Page
    cursor: Option<String>,
}

impl Tool for ListHosts {
    const NAME: &'static str = "inventory_list_hosts";
    const LEVEL: Level = Level::Monitor;
    const EFFECT: Effect = Effect::Read;
    const ROUTE: &'static str = "GET /api/inventory/hosts";
    type Output = Page<Machine>;

    async fn run(self, cx: &Context) -> Result<Page<Machine>> {
        let after = decode_cursor(self.cursor.as_deref())?;
        let filter = Filter { kind: self.kind, tag: self.tag.map(Tag::into_string) };
        cx.read_now(|conn| hosts::list(conn, &filter, after, self.limit)).await
    }
}

/// Show a host with the VMs and services on it
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetHost {
    /// Host
    name: Named,
}

#[derive(Serialize, JsonSchema)]
pub struct HostWithGuests {
    #[serde(flatten)]
    host: Host,
    vms: Vec<String>,
    services: Vec<String>,
}

impl Tool for GetHost {
    const NAME: &'static str = "inventory_get_host";
    const LEVEL: Level = Level::Monitor;
    const EFFECT: Effect = Effect::Read;
    const ROUTE: &'static str = "GET /api/inventory/hosts/{name}";
    type Output = HostWithGuests;

    async fn run(self, cx: &Context) -> Result<HostWithGuests> {
        cx.read_now(|conn| {
            let host: Host = record::get(conn, &self.name)?;
            let name = &host.machine.name;
            let vms = links::vms_of_host(conn, name)?;
            let services = links::services_on(conn, Kind::Host, name)?;
            Ok(HostWithGuests { host, vms, services })
        })
        .await
    }
}

/// Make or change a host
///
/// What is left out stays; an empty text or list clears.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PutHost {
    /// Host
    name: Name,
    /// Kind
    kind: Option<HostKind>,
    /// IP addresses
    addresses: Option<Vec<Line<64>>>,
    /// Operating system
    os: Option<Short>,
    /// Where it stands
    location: Option<Short>,
    /// Notes
    notes: Option<Notes>,
    /// Tags
    tags: Option<Vec<Tag>>,
    /// Fail unless it is at this version; 0 if new
    if_version: Option<i64>,
}

impl Tool for PutHost {
    const NAME: &'static str = "inventory_put_host";
    const LEVEL: Level = Level::Configure;
    const EFFECT: Effect = Effect::Write;
    const ROUTE: &'static str = "PUT /api/inventory/hosts/{name}";
    type Output = Host;

    async fn run(self, cx: &Context) -> Result<Host> {
        super::put(cx, self.name.into_string(), self.if_version, move |host: &mut Host| {
            let machine = &mut host.machine;
            machine.kind = self.kind.unwrap_or(machine.kind);
            super::set_addresses(&mut machine.addresses, "addresses", self.addresses)?;
            super::set_line(&mut machine.os, "os", self.os)?;
            super::set_line(&mut machine.location, "location", self.location)?;
            super::set_names(&mut machine.tags, "tags", self.tags)?;
            super::set_text(&mut host.notes, self.notes);
            Ok(())
        })
        .await
    }
}

/// Remove a host from the inventory
///
/// Its VMs, services and addresses stay and keep naming it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveHost {
    /// Host
    name: Named,
}

impl Tool for RemoveHost {
    const NAME: &'static str = "inventory_remove_host";
    const LEVEL: Level = Level::Configure;
    const EFFECT: Effect = Effect::Destructive;
    const ROUTE: &'static str = "DELETE /api/inventory/hosts/{name}";
    type Output = Removed;

    async fn plan(&self, cx: &Context) -> Result<Plan> {
        super::plan_removal::<Host>(cx, &self.name).await
    }

    async fn run(self, cx: &Context) -> Result<Removed> {
        super::remove::<Host>(cx, self.name.into_string()).await
    }
}
