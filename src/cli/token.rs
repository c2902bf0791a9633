//! `hearth token`: who else may come in.

use std::io::{self, IsTerminal};

use serde_json::{Map, Value, json};

use super::args::{Place, Token, TokenCreate};
use super::call;
use super::output::{self, Form};
use crate::error::{Code, Error, Result};

pub async fn run(place: &Place, command: Token) -> Result<()> {
    match command {
        Token::Create(args) => create(place, args).await,
        Token::List => {
            let tokens = call::tool(place, "token_list", json!({})).await?;
            output::print(Form::of(place), &tokens)
        }
        Token::Revoke { name } => {
            let revoked = call::tool(place, "token_revoke", json!({ "name": name })).await?;
            output::print(Form::of(place), &revoked)
        }
    }
}

async fn create(place: &Place, args: TokenCreate) -> Result<()> {
    let mut input = Map::new();
    input.insert("name".to_owned(), args.name.into());
    input.insert("level".to_owned(), args.level.number().into());
    if !args.toolsets.is_empty() {
        input.insert("toolsets".to_owned(), args.toolsets.into());
    }
    if let Some(expires) = args.expires {
        input.insert("expires".to_owned(), expires.into());
    }
    let made = call::tool(place, "token_create", Value::Object(input)).await?;
    let Some(token) = made.get("token").and_then(Value::as_str) else {
        return Err(Error::new(Code::Internal, "the answer holds no token"));
    };
    if place.json_out {
        return output::print(Form::Json, &made);
    }
    if io::stdout().is_terminal() {
        output::note("Keep it now: it is not shown again.");
    }
    output::line(token)
}
