//! `hearth call`: any tool, by name.

use std::io::{self, IsTerminal, Read, Write};

use serde_json::{Map, Value, json};

use super::args::{Call, Place};
use super::client::Client;
use super::output::{self, Form};
use crate::error::{Code, Error, Result};
use crate::registry::fence;
use crate::surface::http::local::Asked;

/// Of JSON on standard input.
const INPUT_BYTES: u64 = 16 * 1024 * 1024;

pub async fn run(place: &Place, args: Call) -> Result<()> {
    let form = Form::of(place);
    let is_typed = args.json.as_deref().is_some_and(|json| json != "-");
    let mut asked = Asked { tool: args.tool, input: input(args.json)?, is_typed, ..Asked::default() };
    for (key, value) in args.fields {
        asked.texts.entry(key).or_default().push(value);
    }
    let mut client = Client::connect(place).await?;
    let result = confirmed(&mut client, asked, args.yes).await;
    client.close().await?;
    output::print(form, &result?)
}

/// A call with the input as JSON; what the other commands are made of.
pub async fn tool(place: &Place, name: &str, input: Value) -> Result<Value> {
    let mut client = Client::connect(place).await?;
    let result = client.call(&asked(name, input)).await;
    client.close().await?;
    result
}

/// The same for a destructive tool, with the question that [`run`] asks.
pub async fn confirmed_tool(place: &Place, name: &str, input: Value, yes: bool) -> Result<Value> {
    let mut client = Client::connect(place).await?;
    let result = confirmed(&mut client, asked(name, input), yes).await;
    client.close().await?;
    result
}

pub fn asked(name: &str, input: Value) -> Asked {
    let input = match input {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    Asked { tool: name.to_owned(), input, ..Asked::default() }
}

/// Runs the call; a destructive one once the person at the terminal has read its plan and said yes.
async fn confirmed(client: &mut Client, mut call: Asked, yes: bool) -> Result<Value> {
    let error = match client.call(&call).await {
        Err(error) if error.code == Code::Unconfirmed => error,
        result => return result,
    };
    let Some((id, plan)) = error.approval().map(|(id, plan)| (id.to_owned(), plan.clone())) else {
        return Err(error);
    };
    if !yes {
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            let next = format!("hearth approve {id}, then the same call with approval_id={id}; or the call with --yes");
            return Err(error.with_hint(format_args!("run {next}")));
        }
        if !ask(&plan)? {
            client.call(&asked("system_reject", json!({ "approval": id }))).await?;
            return Err(Error::forbidden("not confirmed; nothing was done"));
        }
    }
    client.call(&asked("system_approve", json!({ "approval": id }))).await?;
    call.input.insert("approval_id".to_owned(), Value::from(id));
    client.call(&call).await
}

fn ask(plan: &Value) -> Result<bool> {
    let mut err = io::stderr().lock();
    let shown = |err: &mut io::StderrLock<'_>| {
        writeln!(err, "{}\n", output::as_table(plan))?;
        write!(err, "Go on? [y/N] ")?;
        err.flush()
    };
    shown(&mut err).map_err(Error::internal)?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(Error::internal)?;
    Ok(matches!(fence::clean(answer.trim()).to_ascii_lowercase().as_str(), "y" | "yes"))
}

fn input(json: Option<String>) -> Result<Map<String, Value>> {
    let text = match json.as_deref() {
        None => return Ok(Map::new()),
        Some("-") => {
            let mut text = String::new();
            io::stdin()
                .take(INPUT_BYTES)
                .read_to_string(&mut text)
                .map_err(|error| Error::invalid("--json", format_args!("cannot read standard input: {error}")))?;
            text
        }
        Some(text) => text.to_owned(),
    };
    serde_json::from_str(&text)
        .map_err(|error| Error::invalid("--json", format_args!("must be a JSON object: {error}")))
}
