//! Tools as MCP lists them.

use std::sync::Arc;

use rmcp::model::{ListToolsResult, Tool, ToolAnnotations};
use serde_json::Value;

use super::{Shared, lean};
use crate::app::Caller;
use crate::registry::{Described, Effect};

/// A tool of the registry in MCP's words.
pub fn describe(tool: &Described) -> Tool {
    let effect = tool.entry.effect;
    // GET, PUT and DELETE leave things as the first call did; POST adds something each time.
    let is_idempotent = tool.method != http::Method::POST;
    let annotations = match effect {
        // The other two hints say nothing of a tool that only reads.
        Effect::Read => ToolAnnotations::new().read_only(true).open_world(false),
        Effect::Write | Effect::Destructive => ToolAnnotations::new()
            .read_only(false)
            .destructive(effect == Effect::Destructive)
            .idempotent(is_idempotent)
            .open_world(false),
    };
    let mut described = Tool::new(tool.entry.name, tool.description.clone(), lean::input(&tool.input));
    described.title = Some(tool.title.clone());
    // Clients refuse a list with an output schema that is not of an object.
    if tool.output.get("type").and_then(Value::as_str) == Some("object") {
        described.output_schema = Some(Arc::new(lean::output(&tool.output)));
    }
    described.annotations = Some(annotations);
    described
}

/// What the caller is shown, in the registry's order.
pub(super) fn list(shared: &Shared, caller: &Caller) -> ListToolsResult {
    let offered = shared.registry.offered(caller).filter(|tool| !tool.entry.person_only);
    let mut tools: Vec<Tool> = offered.filter_map(|tool| shared.tools.get(tool.entry.name).cloned()).collect();
    if let Some(fixtures) = &shared.fixtures {
        tools.extend(fixtures.tools());
    }
    ListToolsResult::with_all_items(tools)
}
