//! Schemas of inputs and outputs, in the dialect that every client reads.
//!
//! Whole and without `$ref`, since they are embedded in other documents; without formats
//! that JSON Schema does not know (AJV warns of `uint64`) and without nullable types (some
//! dialects have none): an optional field is one that may be left out.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::Effect;
use crate::error::{Code, Error, Result};

const FORMATS: &[&str] = &["date-time", "uri", "ipv4", "ipv6"];

fn settings() -> SchemaSettings {
    SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    })
}

pub(super) fn input<T: JsonSchema>() -> Schema {
    settings().into_generator().into_root_schema_for::<T>()
}

pub(super) fn output<T: JsonSchema>() -> Schema {
    settings().for_serialize().into_generator().into_root_schema_for::<T>()
}

/// The description, and the schema with the fields that the gate itself reads.
pub(super) fn finish_input(schema: Schema, effect: Effect) -> (String, Map<String, Value>) {
    let mut schema = into_object(schema);
    let description = match schema.remove("description") {
        Some(Value::String(text)) => text,
        _ => String::new(),
    };
    simplify(&mut schema, Keep::Descriptions);
    schema.entry("properties").or_insert_with(|| json!({}));
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        if effect != Effect::Read {
            properties.insert(
                "request_id".to_owned(),
                json!({ "type": "string", "minLength": 1, "maxLength": 128, "description": "Idempotency key" }),
            );
        }
        if effect == Effect::Destructive {
            properties.insert(
                "approval_id".to_owned(),
                json!({ "type": "string", "maxLength": 64, "description": "An approved approval of this very call" }),
            );
        }
    }
    schema.insert("additionalProperties".to_owned(), Value::Bool(false));
    (description, schema)
}

pub(super) fn finish_output(schema: Schema) -> Map<String, Value> {
    let mut schema = into_object(schema);
    simplify(&mut schema, Keep::Shapes);
    schema
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    Descriptions,
    /// Names and types only: descriptions of answers would double the list of tools.
    Shapes,
}

fn into_object(schema: Schema) -> Map<String, Value> {
    match schema.to_value() {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

fn simplify(schema: &mut Map<String, Value>, keep: Keep) {
    schema.remove("title");
    schema.remove("$schema");
    if keep == Keep::Shapes {
        schema.remove("description");
        schema.remove("default");
    }
    if schema.get("default") == Some(&Value::Null) {
        schema.remove("default");
    }
    if schema.get("format").and_then(Value::as_str).is_some_and(|format| !FORMATS.contains(&format)) {
        schema.remove("format");
    }
    drop_null(schema);
    for (name, value) in schema.iter_mut() {
        match (name.as_str(), value) {
            ("properties", Value::Object(properties)) => {
                for property in properties.values_mut().filter_map(Value::as_object_mut) {
                    simplify(property, keep);
                }
            }
            ("items" | "additionalProperties", Value::Object(inner)) => simplify(inner, keep),
            ("anyOf" | "oneOf" | "allOf", Value::Array(all)) => {
                all.iter_mut().filter_map(Value::as_object_mut).for_each(|inner| simplify(inner, keep));
            }
            _ => {}
        }
    }
}

/// `["string", "null"]` becomes `"string"`, `anyOf: [X, null]` becomes `X`, `enum: [a, null]` loses its null.
fn drop_null(schema: &mut Map<String, Value>) {
    if let Some(Value::Array(kinds)) = schema.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let [only] = &kinds[..] {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(words)) = schema.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    if let Some(Value::Array(all)) = schema.get_mut("anyOf") {
        all.retain(|inner| inner.get("type") != Some(&json!("null")));
        if let [Value::Object(only)] = &all[..] {
            let only = only.clone();
            schema.remove("anyOf");
            for (name, value) in only {
                schema.entry(name).or_insert(value);
            }
        }
    }
}

/// Reads an input, naming the field that does not hold.
pub(super) fn decode<T: DeserializeOwned>(input: Value) -> Result<T> {
    serde_path_to_error::deserialize(input).map_err(|error| {
        let path = error.path().to_string();
        let message = error.inner().to_string();
        // serde names these two kinds of field in its message only.
        let named = ["unknown field `", "missing field `"]
            .iter()
            .find_map(|kind| message.strip_prefix(kind)?.split_once('`').map(|(field, _)| field.to_owned()));
        match named {
            Some(field) => Error::invalid(field, message),
            None if path == "." => Error::new(Code::InvalidInput, format_args!("the input: {message}")),
            None => Error::invalid(path, message),
        }
    })
}
