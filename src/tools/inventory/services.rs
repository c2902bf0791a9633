//! Tools for services.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Link, Named, Notes, Tag};
use crate::app::{Context, Level};
use crate::error::{Error, Result};
use crate::page::{Limit, Page, decode_cursor};
use crate::registry::{Effect, Plan, Tool};
use crate::store::inventory::checks::{self, Finding};
use crate::store::inventory::record::{self, Record, Removed};
use crate::store::inventory::services::{self, Endpoint, Filter, Service};
use crate::text::{Line, Name, Text};

/// List services by name
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListServices {
    /// Kind
    kind: Option<Line<40>>,
    /// As `host:nas`, `vm:plex`
    runs_on: Option<Line<80>>,
    /// Tag
    tag: Option<Tag>,
    /// Page size
    #[serde(default)]
    limit: Limit,
    /// Page
    cursor: Option<String>,
}

impl Tool for ListServices {
    const NAME: &'static str = "inventory_list_services";
    const LEVEL: Level = Level::Monitor;
    const EFFECT: Effect = Effect::Read;
    const ROUTE: &'static str = "GET /api/inventory/services";
    type Output = Page<Endpoint>;

    async fn run(self, cx: &Context) -> Result<Page<Endpoint>> {
        let after = decode_cursor(self.cursor.as_deref())?;
        let filter = Filter {
            kind: self.kind.map(Line::into_string),
            runs_on: self.runs_on.map(Line::into_string),
            tag: self.tag.map(Tag::into_string),
        };
        cx.read_now(|conn| services::list(conn, &filter, after, self.limit)).await
    }
}

/// Show a service, what depends on it and its newest health check
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetService {
    /// Service
    name: Named,
}

#[derive(Serialize, JsonSchema)]
pub struct ServiceInUse {
    #[serde(flatten)]
    service: Service,
    dependents: Vec<String>,
    /// As inventory_check_service_health answered; its schema is told there
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Map<String, Value>>")]
    last_check: Option<Finding>,
}

impl Tool for GetService {
    const NAME: &'static str = "inventory_get_service";
    const LEVEL: Level = Level::Monitor;
    const EFFECT: Effect = Effect::Read;
    const ROUTE: &'static str = "GET /api/inventory/services/{name}";
    type Output = ServiceInUse;

    async fn run(self, cx: &Context) -> Result<ServiceInUse> {
        // Which services depend on it, each of them is asked.
        cx.read(move |conn| {
            let service: Service = record::get(conn, &self.name)?;
            let dependents = service.dependents(conn)?.services;
            let last_check = checks::newest(conn, service.name())?;
            Ok(ServiceInUse { service, dependents, last_check })
        })
        .await
    }
}

/// Make or change a service
///
/// What is left out stays; an empty text or list, or 0, clears.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PutService {
    /// Service
    name: Name,
    /// Kind, as `web`, `dns`, `database`
    kind: Option<Text<0, 40>>,
    /// URL
    url: Option<Text<0, 500>>,
    /// URL, or path below `url`, that health checks ask
    health_endpoint: Option<Text<0, 500>>,
    /// Port
    port: Option<i64>,
    /// Protocol
    protocol: Option<Text<0, 40>>,
    /// As `host:nas`, `vm:plex`
    runs_on: Option<Link>,
    /// Services it needs
    depends_on: Option<Vec<Named>>,
    /// Notes
    notes: Option<Notes>,
    /// Tags
    tags: Option<Vec<Tag>>,
    /// Fail unless it is at this version; 0 if new
    if_version: Option<i64>,
}

impl Tool for PutService {
    const NAME: &'static str = "inventory_put_service";
    const LEVEL: Level = Level::Configure;
    const EFFECT: Effect = Effect::Write;
    const ROUTE: &'static str = "PUT /api/inventory/services/{name}";
    type Output = Service;

    async fn run(self, cx: &Context) -> Result<Service> {
        super::put(cx, self.name.into_string(), self.if_version, move |service: &mut Service| {
            let endpoint = &mut service.endpoint;
            let mut kind = Some(std::mem::take(&mut endpoint.kind));
            super::set_line(&mut kind, "kind", self.kind)?;
            endpoint.kind = kind.unwrap_or_else(|| "other".to_owned());
            super::set_line(&mut endpoint.url, "url", self.url)?;
            super::set_line(&mut endpoint.health_endpoint, "health_endpoint", self.health_endpoint)?;
            check_urls(endpoint)?;
            super::set_number(&mut endpoint.port, "port", self.port, u16::MAX.into())?;
            super::set_line(&mut endpoint.protocol, "protocol", self.protocol)?;
            super::set_line(&mut endpoint.runs_on, "runs_on", self.runs_on)?;
            super::set_names(&mut endpoint.depends_on, "depends_on", self.depends_on)?;
            super::set_names(&mut endpoint.tags, "tags", self.tags)?;
            super::set_text(&mut service.notes, self.notes);
            Ok(())
        })
        .await
    }
}

fn check_urls(endpoint: &Endpoint) -> Result<()> {
    if let Some(url) = &endpoint.url {
        services::check_url("url", url)?;
    }
    let Some(health) = &endpoint.health_endpoint else { return Ok(()) };
    if services::is_absolute(health) {
        services::check_url("health_endpoint", health)?;
    } else if health.starts_with("//") {
        return Err(Error::invalid("health_endpoint", "must be a URL or a path"));
    }
    Ok(())
}

/// Remove a service from the inventory
///
/// What depends on it stays and keeps naming it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveService {
    /// Service
    name: Named,
}

impl Tool for RemoveService {
    const NAME: &'static str = "inventory_remove_service";
    const LEVEL: Level = Level::Configure;
    const EFFECT: Effect = Effect::Destructive;
    const ROUTE: &'static str = "DELETE /api/inventory/services/{name}";
    type Output = Removed;

    async fn plan(&self, cx: &Context) -> Result<Plan> {
        super::plan_removal::<Service>(cx, &self.name).await
    }

    async fn run(self, cx: &Context) -> Result<Removed> {
        super::remove::<Service>(cx, self.name.into_string()).await
    }
}
