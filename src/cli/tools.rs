//! `hearth tools`: what there is to call.

use serde_json::{Value, json};

use super::args::{Place, Tools};
use super::client::Client;
use super::output::{self, Form};
use crate::error::{Error, Result};
use crate::surface::http::local::Shown;

pub async fn run(place: &Place, args: Tools) -> Result<()> {
    let mut client = Client::connect(place).await?;
    let tools = client.tools().await;
    client.close().await?;
    let (tools, form) = (tools?, Form::of(place));
    match args.name {
        Some(name) => {
            let tool = tools.iter().find(|tool| tool.name == name);
            let tool = tool.ok_or_else(|| {
                Error::not_found(format_args!("no tool `{name}`")).with_hint("`hearth tools` lists them")
            })?;
            output::print(form, &one(form, tool)?)
        }
        None => {
            let row = |tool: &Shown| json!({ "name": tool.name, "level": tool.level, "effect": tool.effect, "summary": tool.summary });
            output::print(form, &tools.iter().map(row).collect())
        }
    }
}

/// In a table, a row for each field.
fn one(form: Form, tool: &Shown) -> Result<Value> {
    let mut shown = serde_json::to_value(tool).map_err(Error::internal)?;
    if form == Form::Table {
        let required: Vec<&str> = tool
            .input
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let properties = tool.input.get("properties").and_then(Value::as_object).into_iter().flatten();
        let field = |(name, schema): (&String, &Value)| {
            json!({
                "field": name,
                "required": if required.contains(&name.as_str()) { "yes" } else { "" },
                "type": schema.get("type").unwrap_or(&Value::Null),
                "about": schema.get("description").unwrap_or(&Value::Null),
            })
        };
        shown["items"] = properties.map(field).collect();
        shown.as_object_mut().and_then(|shown| shown.remove("input"));
    }
    Ok(shown)
}
