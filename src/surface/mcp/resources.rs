//! Resources: the forum, its threads, and what the inventory holds, read as the tools read them.

use std::sync::Arc;

use rmcp::ErrorData;
use rmcp::model::{
    ListResourceTemplatesResult, ListResourcesResult, ReadResourceResult, Resource, ResourceContents, ResourceTemplate,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::handler::protocol_error;
use super::{Shared, conformance};
use crate::app::Caller;
use crate::error::{Code, Error, Result};
use crate::registry::Call;

pub const FORUM: &str = "hearth://forum";
const SCHEME: &str = "hearth://";
const JSON: &str = "application/json";
const PAGE: usize = 50;
/// Threads of the forum and posts of a thread in one reading.
const READ_LIMIT: usize = 50;
const NAME_MAX: usize = 64;

/// A kind of thing that has a resource each.
pub struct Kind {
    /// The word in its address: `hearth://host/{name}`.
    pub word: &'static str,
    /// What the part in braces is called.
    pub key: &'static str,
    description: &'static str,
    get: &'static str,
    pub list: &'static str,
    /// The field of a listed item that people read.
    title: &'static str,
}

pub const KINDS: [Kind; 5] = [
    Kind {
        word: "thread",
        key: "id",
        description: "A thread of the forum with its posts",
        get: "forum_read_thread",
        list: "forum_list_threads",
        title: "title",
    },
    Kind {
        word: "host",
        key: "name",
        description: "A host, its virtual machines and its services",
        get: "inventory_get_host",
        list: "inventory_list_hosts",
        title: "name",
    },
    Kind {
        word: "vm",
        key: "name",
        description: "A virtual machine or container and its services",
        get: "inventory_get_vm",
        list: "inventory_list_vms",
        title: "name",
    },
    Kind {
        word: "service",
        key: "name",
        description: "A service, what it needs and what needs it",
        get: "inventory_get_service",
        list: "inventory_list_services",
        title: "name",
    },
    Kind {
        word: "network",
        key: "name",
        description: "A network and its allocated addresses",
        get: "inventory_get_network",
        list: "inventory_list_networks",
        title: "name",
    },
];

impl Kind {
    pub fn of(word: &str) -> Option<&'static Kind> {
        KINDS.iter().find(|kind| kind.word == word)
    }

    pub fn template(&self) -> String {
        format!("{SCHEME}{}/{{{}}}", self.word, self.key)
    }

    fn is_offered(&self, shared: &Shared, caller: &Caller) -> bool {
        is_offered(shared, caller, self.get) && is_offered(shared, caller, self.list)
    }

    /// What names an item of a list in its address.
    pub fn key_of(&self, item: &Value) -> Option<String> {
        match (self.word, item.get("name"), item.get("thread_id")) {
            ("thread", _, Some(id)) => id.as_i64().map(|id| id.to_string()),
            (_, Some(name), _) => name.as_str().map(str::to_owned),
            _ => None,
        }
    }

    fn resource(&self, item: &Value) -> Option<Resource> {
        let key = self.key_of(item)?;
        let name = format!("{}/{key}", self.word);
        let title = item.get(self.title).and_then(Value::as_str).unwrap_or(&key).to_owned();
        Some(Resource::new(format!("{SCHEME}{name}"), name).with_title(title).with_mime_type(JSON))
    }
}

pub fn is_offered(shared: &Shared, caller: &Caller, tool: &str) -> bool {
    shared.registry.find(tool).is_some_and(|tool| tool.is_offered(caller))
}

/// What reads a resource: the tool and its input.
fn reader(uri: &str) -> Option<(&'static str, Value)> {
    if uri.eq_ignore_ascii_case(FORUM) {
        return Some(("forum_list_threads", json!({ "limit": READ_LIMIT })));
    }
    let (word, key) = uri.strip_prefix(SCHEME)?.split_once('/')?;
    let kind = Kind::of(word)?;
    if kind.word == "thread" {
        let id: i64 = key.parse().ok()?;
        return Some((kind.get, json!({ "thread_id": id, "limit": READ_LIMIT })));
    }
    let is_name = key.len() <= NAME_MAX && key.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    (is_name && !key.is_empty()).then(|| (kind.get, json!({ "name": key })))
}

pub fn is_known(shared: &Shared, uri: &str) -> bool {
    reader(uri).is_some() || (shared.fixtures.is_some() && conformance::read(uri).is_some())
}

/// Refuses a resource that is none, or none for this caller.
pub fn check(shared: &Shared, caller: &Caller, uri: &str) -> Result<(), ErrorData> {
    let offered = match reader(uri) {
        Some((tool, _)) => is_offered(shared, caller, tool),
        None => is_known(shared, uri),
    };
    if offered { Ok(()) } else { Err(not_found(uri)) }
}

fn not_found(uri: &str) -> ErrorData {
    let uri: String = uri.chars().take(256).collect();
    ErrorData::resource_not_found(format!("no resource {}", uri.escape_debug()), Some(json!({ "uri": uri })))
}

pub async fn read(
    shared: &Arc<Shared>,
    caller: &Arc<Caller>,
    uri: &str,
    ct: &CancellationToken,
) -> Result<ReadResourceResult, ErrorData> {
    if shared.fixtures.is_some()
        && let Some(result) = conformance::read(uri)
    {
        return Ok(result);
    }
    let Some((tool, input)) = reader(uri).filter(|(tool, _)| is_offered(shared, caller, tool)) else {
        return Err(not_found(uri));
    };
    let mut call = Call::new(Arc::clone(caller), tool, input);
    call.cancel = ct.clone();
    match shared.registry.invoke(call).await {
        Ok(output) => {
            let contents = ResourceContents::text(output.to_string(), uri).with_mime_type(JSON);
            Ok(ReadResourceResult::new(vec![contents]))
        }
        Err(error) if error.code == Code::NotFound => Err(not_found(uri)),
        Err(error) => Err(protocol_error(&error)),
    }
}

pub fn templates(shared: &Shared, caller: &Caller) -> ListResourceTemplatesResult {
    let offered = KINDS.iter().filter(|kind| is_offered(shared, caller, kind.get));
    let mut templates: Vec<ResourceTemplate> = offered
        .map(|kind| {
            ResourceTemplate::new(kind.template(), kind.word).with_description(kind.description).with_mime_type(JSON)
        })
        .collect();
    if shared.fixtures.is_some() {
        templates.push(conformance::template());
    }
    ListResourceTemplatesResult::with_all_items(templates)
}

/// Lists kind after kind; a cursor is the number of a kind and the place in its list.
pub async fn list(
    shared: &Arc<Shared>,
    caller: &Arc<Caller>,
    cursor: Option<String>,
) -> Result<ListResourcesResult, ErrorData> {
    let (mut stage, mut place) = match cursor.as_deref().map(read_cursor) {
        None => (0, None),
        Some(Some((stage, place))) => (stage, place),
        Some(None) => return Err(ErrorData::invalid_params("not a cursor of this list", None)),
    };
    let mut resources = Vec::new();
    if cursor.is_none() {
        if is_offered(shared, caller, "forum_list_threads") {
            let forum = Resource::new(FORUM, "forum").with_title("Forum").with_mime_type(JSON);
            resources.push(forum.with_description("The threads with the newest activity"));
        }
        if shared.fixtures.is_some() {
            resources.extend(conformance::resources());
        }
    }
    while let Some(kind) = KINDS.get(stage) {
        if PAGE <= resources.len() {
            break;
        }
        place = if kind.is_offered(shared, caller) {
            let (items, next) =
                page(shared, caller, kind, place.take()).await.map_err(|error| protocol_error(&error))?;
            resources.extend(items.iter().filter_map(|item| kind.resource(item)));
            next
        } else {
            None
        };
        if place.is_none() {
            stage += 1;
        }
    }
    let mut list = ListResourcesResult::with_all_items(resources);
    list.next_cursor = (stage < KINDS.len()).then(|| format!("{stage}.{}", place.unwrap_or_default()));
    Ok(list)
}

fn read_cursor(cursor: &str) -> Option<(usize, Option<String>)> {
    let (stage, place) = cursor.split_once('.')?;
    let stage = stage.parse().ok().filter(|stage| *stage < KINDS.len())?;
    Some((stage, (!place.is_empty()).then(|| place.to_owned())))
}

/// A page of one kind, through its list tool.
pub async fn page(
    shared: &Arc<Shared>,
    caller: &Arc<Caller>,
    kind: &Kind,
    cursor: Option<String>,
) -> Result<(Vec<Value>, Option<String>)> {
    let mut input = json!({ "limit": PAGE });
    if let Some(cursor) = cursor {
        input["cursor"] = Value::from(cursor);
    }
    let mut output = shared.registry.invoke(Call::new(Arc::clone(caller), kind.list, input)).await?;
    let next = output.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
    match output.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => Ok((items, next)),
        _ => Err(Error::internal("a list without items")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_others_are_none() {
        assert_eq!(reader("hearth://host/nas-1.lan").unwrap().1, json!({ "name": "nas-1.lan" }));
        assert_eq!(reader("hearth://thread/7").unwrap().0, "forum_read_thread");
        for uri in [
            "hearth://thread/x",
            "hearth://host/",
            "hearth://host/..%2f",
            "hearth://host/a/b",
            "hearth://audit/1",
            "file:///etc/passwd",
            "hearth://hosts/nas",
        ] {
            assert!(reader(uri).is_none(), "{uri}");
        }
    }

    #[test]
    fn a_cursor_names_a_kind_that_is_there() {
        assert_eq!(read_cursor("1.abc"), Some((1, Some("abc".into()))));
        assert_eq!(read_cursor("2."), Some((2, None)));
        assert_eq!(read_cursor("9."), None);
        assert_eq!(read_cursor("nonsense"), None);
    }
}
