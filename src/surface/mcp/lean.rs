//! Schemas as MCP lists them: what a model needs to call a tool, in as few bytes as that takes.
//!
//! Every client carries the list of tools in its context all the time. REST's OpenAPI document
//! has the whole schemas; here the answer keeps names and types down to the second level, and
//! the input loses bounds that the gate checks anyway and explains when they do not hold.

use serde_json::{Map, Value};

/// Objects of an answer are described down to this depth.
const DEPTH: usize = 2;
const NOT_IN_ANSWERS: &[&str] = &["required", "format", "minimum", "maximum", "minLength", "maxLength", "pattern"];
const NOT_IN_INPUTS: &[&str] = &["minLength", "maxLength", "additionalProperties"];
/// Fields whose name says it all, as every list has them.
const PLAIN: &[&str] = &["cursor", "limit", "request_id"];

pub fn output(schema: &Map<String, Value>) -> Map<String, Value> {
    answer(schema, 0)
}

fn answer(schema: &Map<String, Value>, depth: usize) -> Map<String, Value> {
    let mut lean = Map::new();
    for (key, value) in schema.iter().filter(|(key, _)| !NOT_IN_ANSWERS.contains(&key.as_str())) {
        let value = match (key.as_str(), value) {
            ("properties", _) if DEPTH <= depth => continue,
            ("properties", Value::Object(fields)) => each(fields, |_, field| answer(field, depth + 1)),
            ("items", Value::Object(item)) => Value::Object(answer(item, depth)),
            (_, value) => value.clone(),
        };
        lean.insert(key.clone(), value);
    }
    lean
}

pub fn input(schema: &Map<String, Value>) -> Map<String, Value> {
    let mut lean = Map::new();
    for (key, value) in schema.iter().filter(|(key, _)| !NOT_IN_INPUTS.contains(&key.as_str())) {
        let value = match (key.as_str(), value) {
            ("properties", Value::Object(fields)) => each(fields, |name, field| {
                let mut field = input(field);
                if PLAIN.contains(&name) {
                    field.remove("description");
                }
                field
            }),
            ("items", Value::Object(item)) => Value::Object(input(item)),
            (_, value) => value.clone(),
        };
        lean.insert(key.clone(), value);
    }
    lean
}

fn each(fields: &Map<String, Value>, lean: impl Fn(&str, &Map<String, Value>) -> Map<String, Value>) -> Value {
    let fields = fields.iter().map(|(name, field)| {
        let field = field.as_object().map_or_else(|| field.clone(), |field| Value::Object(lean(name, field)));
        (name.clone(), field)
    });
    Value::Object(fields.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_keeps_names_and_types_and_an_input_what_to_write() {
        let schema = json!({
            "type": "object",
            "required": ["items"],
            "properties": { "items": { "type": "array", "items": {
                "type": "object",
                "properties": { "at": { "type": "string", "format": "date-time" },
                                "quote": { "type": "object", "properties": { "text": { "type": "string" } } } },
            }}},
        });
        let expected = json!({
            "type": "object",
            "properties": { "items": { "type": "array", "items": {
                "type": "object", "properties": { "at": { "type": "string" }, "quote": { "type": "object" } },
            }}},
        });
        assert_eq!(Value::Object(output(schema.as_object().unwrap())), expected);

        let schema = json!({
            "type": "object", "additionalProperties": false, "required": ["title"],
            "properties": { "title": { "type": "string", "maxLength": 9, "description": "What" },
                            "limit": { "type": "integer", "maximum": 100, "description": "Page size" } },
        });
        let expected = json!({
            "type": "object", "required": ["title"],
            "properties": { "title": { "type": "string", "description": "What" },
                            "limit": { "type": "integer", "maximum": 100 } },
        });
        assert_eq!(Value::Object(input(schema.as_object().unwrap())), expected);
    }
}
