//! OpenAPI 3.1 out of the registry: what the caller may call, with the schemas that MCP shows.

use std::collections::BTreeSet;

use http::Method;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::http::problem;
use super::rest::{self, takes_body};
use crate::app::Caller;
use crate::error::{Body, Code};
use crate::registry::{Described, Effect, Registry};

pub const PATH: &str = "/api/openapi.json";

pub fn document(registry: &Registry, caller: &Caller) -> Value {
    let mut paths = Map::new();
    let mut toolsets = BTreeSet::new();
    for tool in registry.offered(caller) {
        toolsets.insert(tool.toolset);
        let path = paths.entry(tool.path).or_insert_with(|| json!({}));
        path[tool.method.as_str().to_ascii_lowercase()] = operation(tool);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "hearth",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Every tool of the appliance that you may call. Errors are problem details (RFC 9457).",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "bearer": [] }, {}],
        "tags": toolsets.into_iter().map(|name| json!({ "name": name })).collect::<Value>(),
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of `hearth token create`. Callers on the machine itself may do without.",
                },
            },
            "schemas": { "Problem": problem_schema() },
            "responses": {
                "Problem": {
                    "description": "What went wrong, and what to do next",
                    "headers": {
                        "Retry-After": { "description": "Seconds to wait", "schema": { "type": "integer" } },
                        "WWW-Authenticate": { "description": "With status 401", "schema": { "type": "string" } },
                    },
                    "content": { problem::MEDIA_TYPE: { "schema": { "$ref": "#/components/schemas/Problem" } } },
                },
            },
        },
    })
}

fn operation(tool: &Described) -> Value {
    let entry = tool.entry;
    let mut operation = json!({
        "operationId": entry.name,
        "tags": [tool.toolset],
        "summary": tool.summary,
        "description": tool.description,
        "parameters": parameters(tool),
        "responses": responses(tool),
        "x-hearth-level": entry.level.number(),
        "x-hearth-effect": effect_word(entry.effect),
    });
    if takes_body(&tool.method) {
        let (schema, is_required) = body_schema(tool);
        operation["requestBody"] =
            json!({ "required": is_required, "content": { "application/json": { "schema": schema } } });
    }
    operation
}

pub fn effect_word(effect: Effect) -> &'static str {
    match effect {
        Effect::Read => "read",
        Effect::Write => "write",
        Effect::Destructive => "destructive",
    }
}

fn parameters(tool: &Described) -> Value {
    let in_path = path_fields(tool.path);
    let mut parameters = Vec::new();
    for (name, schema) in properties(tool) {
        let place = match () {
            () if in_path.contains(&name.as_str()) => "path",
            () if takes_body(&tool.method) => continue,
            () => "query",
        };
        let is_required = place == "path" || required(tool).any(|required| required == name);
        parameters.push(parameter(name, place, is_required, schema));
    }
    let text = |description: &str, max: u32| json!({ "type": "string", "minLength": 1, "maxLength": max, "pattern": "^[!-~]+$", "description": description });
    if tool.entry.effect != Effect::Read {
        let schema = text("The `request_id`: a call that is repeated with it is answered and not run again", 128);
        parameters.push(parameter("Idempotency-Key", "header", false, &schema));
    }
    if tool.entry.effect == Effect::Destructive {
        let schema = text("The `approval_id` that a person has approved", 64);
        parameters.push(parameter("X-Hearth-Approval", "header", false, &schema));
    }
    if tool.method == Method::GET {
        let schema = json!({ "type": "string", "description": "The `ETag` of an answer that is known already" });
        parameters.push(parameter("If-None-Match", "header", false, &schema));
    }
    Value::Array(parameters)
}

fn parameter(name: &str, place: &str, is_required: bool, schema: &Value) -> Value {
    let mut schema = schema.clone();
    let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
    let mut parameter = json!({ "name": name, "in": place, "required": is_required, "schema": schema });
    if let Some(description) = description {
        parameter["description"] = description;
    }
    parameter
}

/// What is left for the body once the path has taken its fields, and whether there has to be one.
fn body_schema(tool: &Described) -> (Value, bool) {
    let in_path = path_fields(tool.path);
    let is_in_body = |name: &str| !in_path.contains(&name);
    let mut schema = (*tool.input).clone();
    let properties: Map<String, Value> = properties(tool)
        .filter(|(name, _)| is_in_body(name))
        .map(|(name, schema)| (name.clone(), schema.clone()))
        .collect();
    let required: Vec<&str> = required(tool).filter(|name| is_in_body(name)).collect();
    let is_required = !required.is_empty();
    let required = json!(required);
    schema.insert("properties".to_owned(), Value::Object(properties));
    if is_required {
        schema.insert("required".to_owned(), required);
    } else {
        schema.remove("required");
    }
    (Value::Object(schema), is_required)
}

fn responses(tool: &Described) -> Value {
    let mut responses = json!({
        "200": { "description": "Done", "content": { "application/json": { "schema": *tool.output } } },
        "default": { "$ref": "#/components/responses/Problem" },
    });
    if tool.entry.effect == Effect::Read {
        responses["200"]["headers"] = json!({ "ETag": { "schema": { "type": "string" } } });
        responses["304"] = json!({ "description": "As in the answer with that tag" });
    }
    responses
}

/// The tool's own fields; what the gate reads beside them is documented as headers.
fn properties(tool: &Described) -> impl Iterator<Item = (&String, &Value)> {
    let all = tool.input.get("properties").and_then(Value::as_object).into_iter().flatten();
    all.filter(|(name, _)| !rest::HEADERS.iter().any(|(_, field)| field == name))
}

fn required(tool: &Described) -> impl Iterator<Item = &str> {
    tool.input.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// The names in braces.
pub fn path_fields(path: &str) -> Vec<&str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect()
}

fn problem_schema() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<Body>().to_value();
    let members = [
        ("type", json!({ "type": "string", "format": "uri" })),
        ("title", json!({ "type": "string" })),
        ("status", json!({ "type": "integer", "minimum": 400, "maximum": 599 })),
        ("detail", json!({ "type": "string" })),
    ];
    for (name, member) in members {
        schema["properties"][name] = member;
        if let Some(required) = schema["required"].as_array_mut() {
            required.push(json!(name));
        }
    }
    schema["properties"]["code"] = json!({ "enum": Code::ALL, "description": "What kind of failure it is" });
    // What is not there is left out, not null.
    for member in schema["properties"].as_object_mut().into_iter().flat_map(|all| all.values_mut()) {
        if let Some(kind) = member["type"].as_array().and_then(|kinds| kinds.first()).cloned() {
            member["type"] = kind;
        }
    }
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("title");
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_as_the_schema_says() {
        let schema = problem_schema();
        let error = crate::error::Error::invalid("limit", "must be from 1 to 100, not 0").with_call_id("c");
        let document = problem::document(http::StatusCode::BAD_REQUEST, &error);
        for name in document.as_object().unwrap().keys() {
            assert!(schema["properties"].get(name).is_some(), "{name}");
        }
        for name in schema["required"].as_array().unwrap() {
            assert!(document.get(name.as_str().unwrap()).is_some(), "{name}");
        }
    }

    #[test]
    fn the_fields_of_a_path_are_those_in_braces() {
        assert_eq!(path_fields("/api/a/{x}/b/{y}"), ["x", "y"]);
        assert!(path_fields("/api/a").is_empty());
    }
}
