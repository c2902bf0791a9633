//! Answers for whoever reads: a table on a terminal, JSON in a pipe.

use std::io::{self, IsTerminal, Write};

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use serde_json::{Map, Value};

use super::args::Place;
use crate::error::{Error, Result};
use crate::registry::fence;

/// Characters of a cell, beyond which a table is no help.
const CELL: usize = 200;
/// Columns of a terminal: below the first a width is not believed, and the second taken instead.
const NARROWEST: u16 = 20;
const ASSUMED: u16 = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Table,
    Json,
}

impl Form {
    pub fn of(place: &Place) -> Form {
        if place.json_out || !io::stdout().is_terminal() { Form::Json } else { Form::Table }
    }
}

pub fn print(form: Form, value: &Value) -> Result<()> {
    match form {
        Form::Json => line(&serde_json::to_string(value).map_err(Error::internal)?),
        Form::Table => line(&as_table(value)),
    }
}

/// A line on standard output. A reader that has gone away is no error of ours.
pub fn line(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(Error::internal),
    }
}

/// A line for the person, beside the answer.
pub fn note(text: &str) {
    // Without a standard error there is nobody to tell.
    let _ = writeln!(io::stderr(), "{text}");
}

/// What went wrong, and what to do next, on standard error.
pub fn complain(error: &Error) {
    let mut err = io::stderr().lock();
    let _ = writeln!(err, "error: {}", fence::clean(&error.message));
    if let Some(hint) = error.hint() {
        let _ = writeln!(err, "hint: {}", fence::clean(hint));
    }
    if let Some(call_id) = error.body().call_id {
        let _ = writeln!(err, "call: {call_id}");
    }
}

/// A page as a table of its items, an object as a table of its fields.
pub fn as_table(value: &Value) -> String {
    match value {
        Value::Object(fields) => match fields.get("items").and_then(Value::as_array) {
            Some(items) => page(fields, items),
            None => record(fields),
        },
        Value::Array(items) => rows(items),
        other => cell(other),
    }
}

fn page(fields: &Map<String, Value>, items: &[Value]) -> String {
    let mut text = String::new();
    let others: Map<String, Value> =
        fields.iter().filter(|(name, _)| !matches!(name.as_str(), "items" | "next_cursor")).map(own).collect();
    if !others.is_empty() {
        text.push_str(&record(&others));
        text.push_str("\n\n");
    }
    text.push_str(&if items.is_empty() { "nothing".to_owned() } else { rows(items) });
    if let Some(cursor) = fields.get("next_cursor").and_then(Value::as_str) {
        text.push_str(&format!("\n\nmore: cursor={cursor}"));
    }
    text
}

fn own((name, value): (&String, &Value)) -> (String, Value) {
    (name.clone(), value.clone())
}

fn rows(items: &[Value]) -> String {
    let mut columns: Vec<&String> = Vec::new();
    for name in items.iter().filter_map(Value::as_object).flat_map(Map::keys) {
        if !columns.contains(&name) {
            columns.push(name);
        }
    }
    if columns.is_empty() {
        return items.iter().map(cell).collect::<Vec<_>>().join("\n");
    }
    let mut table = plain();
    table.set_header(columns.iter().map(|name| name.to_uppercase()));
    for item in items {
        table.add_row(columns.iter().map(|name| item.get(name.as_str()).map(cell).unwrap_or_default()));
    }
    trimmed(&table)
}

fn record(fields: &Map<String, Value>) -> String {
    let mut table = plain();
    for (name, value) in fields {
        table.add_row([name.clone(), inner(value)]);
    }
    trimmed(&table)
}

/// What stands in a field: lines rather than a table in a table, which a terminal has no room for.
fn inner(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| format!("{name}: {}", cell(value))).collect::<Vec<_>>().join("\n")
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            let line = |item: &Value| match item {
                Value::Object(fields) => {
                    let part = |(name, value): (&String, &Value)| format!("{name}={}", cell(value));
                    fields.iter().map(part).collect::<Vec<_>>().join(" ")
                }
                other => cell(other),
            };
            items.iter().map(line).collect::<Vec<_>>().join("\n")
        }
        Value::Array(items) if items.iter().all(Value::is_string) => {
            items.iter().map(cell).collect::<Vec<_>>().join("\n")
        }
        Value::String(text) => fence::clean(text).into_owned(),
        other => cell(other),
    }
}

fn plain() -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    // Some terminals do not say how wide they are.
    if table.width().is_some_and(|width| width < NARROWEST) {
        table.set_width(ASSUMED);
    }
    table
}

fn trimmed(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// One line of a value; what is long is cut, since a table is for an overview.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => fence::clean(text).replace(['\n', '\t'], " "),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        Value::Object(_) => fence::clean(&value.to_string()).into_owned(),
        other => other.to_string(),
    };
    match text.char_indices().nth(CELL) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_is_a_table_of_its_items() {
        let text =
            as_table(&json!({ "items": [{ "a": 1, "b": "x\ny" }, { "a": 2, "c": ["p", "q"] }], "next_cursor": "n" }));
        assert_eq!(text.lines().next().unwrap().split_whitespace().collect::<Vec<_>>(), ["A", "B", "C"]);
        assert!(text.contains("x y") && text.contains("p, q") && text.ends_with("more: cursor=n"), "{text}");
    }

    #[test]
    fn escapes_of_others_do_not_reach_the_terminal() {
        let text = as_table(&json!({ "body": "\u{1b}[31mred", "items_of": [{ "t": "\u{1b}]0;x\u{7}y" }] }));
        assert!(!text.contains('\u{1b}') && text.contains("red"), "{text:?}");
    }
}
