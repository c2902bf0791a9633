//! Tools as MCP lists them.

use std::sync::Arc;

use rmcp::model::{ListToolsResult, Tool, ToolAnnotations};
use serde_json::{Map, Value, json};

use super::Shared;
use crate::app::Caller;
use crate::registry::{Described, Effect};

/// A shape within an answer that takes more bytes than this is listed as an object and no more:
/// every client pays for the list with its context, and reads the answer itself anyway.
const SHAPE_MAX: usize = 300;

/// A tool of the registry in MCP's words.
pub fn describe(tool: &Described) -> Tool {
    let effect = tool.entry.effect;
    let annotations = ToolAnnotations::new().read_only(effect == Effect::Read).open_world(false);
    let annotations = match effect {
        // The other hints say nothing about a tool that only reads.
        Effect::Read => annotations,
        // PUT and DELETE leave things as the first call did; POST adds something each time.
        Effect::Write | Effect::Destructive => {
            annotations.destructive(effect == Effect::Destructive).idempotent(tool.method != http::Method::POST)
        }
    };
    let mut described = Tool::new(tool.entry.name, tool.description.clone(), tool.input.clone());
    described.title = Some(tool.title.clone());
    // Clients refuse a list with an output schema that is not of an object.
    if tool.output.get("type").and_then(Value::as_str) == Some("object") {
        described.output_schema = Some(Arc::new(compact(&tool.output, 0)));
    }
    described.annotations = Some(annotations);
    described
}

/// What the caller is shown, in the registry's order.
pub fn list(shared: &Shared, caller: &Caller) -> ListToolsResult {
    let offered = shared.registry.offered(caller).filter(|tool| !tool.entry.person_only);
    let mut tools: Vec<Tool> = offered.filter_map(|tool| shared.tools.get(tool.entry.name).cloned()).collect();
    if let Some(fixtures) = &shared.fixtures {
        tools.extend(fixtures.tools());
    }
    ListToolsResult::with_all_items(tools)
}

/// The schema of an answer without what only a validator would read, and without large shapes in it.
fn compact(schema: &Map<String, Value>, depth: usize) -> Map<String, Value> {
    let is_kept = |name: &str| match name {
        "format" | "minimum" | "maximum" | "minLength" | "maxLength" => false,
        "required" => depth == 0,
        _ => true,
    };
    let mut compacted = Map::new();
    for (name, value) in schema.iter().filter(|(name, _)| is_kept(name)) {
        let value = match (name.as_str(), value) {
            ("properties", Value::Object(properties)) => {
                let shapes = properties.iter().map(|(name, value)| (name.clone(), compact_value(value, depth + 1)));
                Value::Object(shapes.collect())
            }
            ("items" | "additionalProperties", value) => compact_value(value, depth + 1),
            ("anyOf" | "oneOf" | "allOf", Value::Array(all)) => {
                all.iter().map(|value| compact_value(value, depth + 1)).collect()
            }
            (_, value) => value.clone(),
        };
        compacted.insert(name.clone(), value);
    }
    compacted
}

fn compact_value(value: &Value, depth: usize) -> Value {
    let Value::Object(schema) = value else { return value.clone() };
    let compacted = Value::Object(compact(schema, depth));
    let is_large = schema.contains_key("properties") && SHAPE_MAX < compacted.to_string().len();
    if is_large { json!({ "type": "object" }) } else { compacted }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_shapes_within_an_answer_are_named_and_not_drawn() {
        let text = json!({ "type": "string", "format": "date-time" });
        let large: Map<String, Value> = (0..20).map(|n| (format!("field_{n}"), text.clone())).collect();
        let small = json!({ "type": "object", "properties": { "at": text }, "required": ["at"] });
        let schema = json!({
            "type": "object",
            "properties": { "items": { "type": "array", "items": { "type": "object", "properties": large } }, "one": small },
            "required": ["items"],
        });
        let Value::Object(schema) = schema else { unreachable!() };
        let expected = json!({
            "type": "object",
            "properties": {
                "items": { "type": "array", "items": { "type": "object" } },
                "one": { "type": "object", "properties": { "at": { "type": "string" } } },
            },
            "required": ["items"],
        });
        assert_eq!(Value::Object(compact(&schema, 0)), expected);
    }
}
