//! Turns flat text (flags, query strings, chat arguments) into a tool's input.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Reads each `name=text` by the type its schema gives it.
///
/// What the schema does not know is left as text, for the tool's own
/// deserializer to refuse with the better message.
pub fn coerce(schema: &Map<String, Value>, args: &BTreeMap<String, Vec<String>>) -> Value {
    let properties = schema.get("properties").and_then(Value::as_object);
    let input = args.iter().map(|(name, texts)| {
        let property = properties.and_then(|all| all.get(name));
        (name.clone(), value(property, texts))
    });
    Value::Object(input.collect())
}

fn value(property: Option<&Value>, texts: &[String]) -> Value {
    match (property.and_then(kind_of), texts) {
        (Some("array"), _) => {
            let item = property.and_then(|property| property.get("items"));
            texts.iter().map(|text| value(item, std::slice::from_ref(text))).collect()
        }
        (Some("boolean" | "integer" | "number"), [text]) => {
            serde_json::from_str(text).unwrap_or_else(|_| Value::from(text.as_str()))
        }
        (_, [text]) => Value::from(text.as_str()),
        (_, texts) => texts.iter().map(|text| Value::from(text.as_str())).collect(),
    }
}

fn kind_of(property: &Value) -> Option<&str> {
    property.get("type")?.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_becomes_the_type_the_schema_names() {
        let schema = json!({ "properties": {
            "host": { "type": "string" }, "count": { "type": "integer" }, "running": { "type": "boolean" },
            "tags": { "type": "array", "items": { "type": "string" } }, "mode": { "enum": ["fast"] },
        }});
        let args = [
            ("host", vec!["8"]),
            ("count", vec!["8"]),
            ("running", vec!["true"]),
            ("tags", vec!["a"]),
            ("mode", vec!["fast"]),
            ("other", vec!["1"]),
        ];
        let args =
            args.into_iter().map(|(name, texts)| (name.to_owned(), texts.into_iter().map(str::to_owned).collect()));
        let input = coerce(schema.as_object().unwrap(), &args.collect());
        let expected = json!({ "host": "8", "count": 8, "running": true, "tags": ["a"], "mode": "fast", "other": "1" });
        assert_eq!(input, expected);
    }
}
