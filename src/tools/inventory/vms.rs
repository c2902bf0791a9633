//! Tools for virtual machines.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Link, Named, Notes, Short, Tag};
use crate::app::{Context, Level};
use crate::error::Result;
use crate::page::{Limit, Page, decode_cursor};
use crate::registry::{Effect, Plan, Tool};
use crate::store::inventory::record::{self, Removed};
use crate::store::inventory::vms::{self, Filter, Guest, Vm};
use crate::store::inventory::{Kind, VmKind, VmStatus, links};
use crate::text::{Line, Name};

/// What Proxmox allows for a number of a guest.
const VMID_MAX: i64 = 999_999_999;
const VCPUS_MAX: i64 = 4096;
const MEMORY_MIB_MAX: i64 = 64 << 20;

/// List VMs by name
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListVms {
    /// Host
    host: Option<Named>,
    /// Status
    status: Option<VmStatus>,
    /// Tag
    tag: Option<Tag>,
    /// Page size
    #[serde(default)]
    limit: Limit,
    /// Page
    cursor: Option<String>,
}

impl Tool for ListVms {
    const NAME: &'static str = "inventory_list_vms";
    const LEVEL: Level = Level::Monitor;
    const EFFECT: Effect = Effect::Read;
    const ROUTE: &'static str = "GET /api/inventory/vms";
    type Output = Page<Guest>;

    async fn run(self, cx: &Context) -> Result<Page<Guest>> {
        let after = decode_cursor(self.cursor.as_deref())?;
        let (host, tag) = (self.host.map(Named::into_string), self.tag.map(Tag::into_string));
        let filter = Filter { host, status: self.status, tag };
        cx.read_now(|conn| vms::list(conn, &filter, after, self.limit)).await
    }
}

/// Show a VM with the services on it
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetVm {
    /// VM
    name: Named,
}

#[derive(Serialize, JsonSchema)]
pub struct VmWithServices {
    #[serde(flatten)]
    vm: Vm,
    services: Vec<String>,
}

impl Tool for GetVm {
    const NAME: &'static str = "inventory_get_vm";
    const LEVEL: Level = Level::Monitor;
    const EFFECT: Effect = Effect::Read;
    const ROUTE: &'static str = "GET /api/inventory/vms/{name}";
    type Output = VmWithServices;

    async fn run(self, cx: &Context) -> Result<VmWithServices> {
        cx.read_now(|conn| {
            let vm: Vm = record::get(conn, &self.name)?;
            let services = links::services_on(conn, Kind::Vm, &vm.guest.name)?;
            Ok(VmWithServices { vm, services })
        })
        .await
    }
}

/// Make or change a VM
///
/// What is left out stays; an empty text or list, or 0, clears.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PutVm {
    /// VM
    name: Name,
    /// Host it runs on
    host: Option<Link>,
    /// The hypervisor's number of it
    vmid: Option<i64>,
    /// Kind
    kind: Option<VmKind>,
    /// Status
    status: Option<VmStatus>,
    /// IP addresses
    addresses: Option<Vec<Line<64>>>,
    /// Operating system
    os: Option<Short>,
    /// Virtual CPUs
    vcpus: Option<i64>,
    /// Memory in MiB
    memory_mib: Option<i64>,
    /// Notes
    notes: Option<Notes>,
    /// Tags
    tags: Option<Vec<Tag>>,
    /// Fail unless it is at this version; 0 if new
    if_version: Option<i64>,
}

impl Tool for PutVm {
    const NAME: &'static str = "inventory_put_vm";
    const LEVEL: Level = Level::Configure;
    const EFFECT: Effect = Effect::Write;
    const ROUTE: &'static str = "PUT /api/inventory/vms/{name}";
    type Output = Vm;

    async fn run(self, cx: &Context) -> Result<Vm> {
        super::put(cx, self.name.into_string(), self.if_version, move |vm: &mut Vm| {
            let guest = &mut vm.guest;
            super::set_line(&mut guest.host, "host", self.host)?;
            super::set_number(&mut guest.vmid, "vmid", self.vmid, VMID_MAX)?;
            guest.kind = self.kind.unwrap_or(guest.kind);
            guest.status = self.status.unwrap_or(guest.status);
            super::set_addresses(&mut guest.addresses, "addresses", self.addresses)?;
            super::set_line(&mut guest.os, "os", self.os)?;
            super::set_number(&mut guest.vcpus, "vcpus", self.vcpus, VCPUS_MAX)?;
            super::set_number(&mut guest.memory_mib, "memory_mib", self.memory_mib, MEMORY_MIB_MAX)?;
            super::set_names(&mut guest.tags, "tags", self.tags)?;
            super::set_text(&mut vm.notes, self.notes);
            Ok(())
        })
        .await
    }
}

/// Remove a VM from the inventory
///
/// Its services and addresses stay and keep naming it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveVm {
    /// VM
    name: Named,
}

impl Tool for RemoveVm {
    const NAME: &'static str = "inventory_remove_vm";
    const LEVEL: Level = Level::Configure;
    const EFFECT: Effect = Effect::Destructive;
    const ROUTE: &'static str = "DELETE /api/inventory/vms/{name}";
    type Output = Removed;

    async fn plan(&self, cx: &Context) -> Result<Plan> {
        super::plan_removal::<Vm>(cx, &self.name).await
    }

    async fn run(self, cx: &Context) -> Result<Removed> {
        super::remove::<Vm>(cx, self.name.into_string()).await
    }
}
