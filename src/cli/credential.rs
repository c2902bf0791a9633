//! `hearth credential`: secrets, typed or piped in and never among the arguments.

use serde_json::{Map, Value, json};

use super::args::{Credential, CredentialPut, Place};
use super::call;
use super::output::{self, Form};
use super::prompt::{self, Typed};
use crate::error::{Code, Error, Result};

pub async fn run(place: &Place, command: Credential) -> Result<()> {
    let answer = match command {
        Credential::List { target, kind } => {
            let input = given([("target", target), ("kind", kind)]);
            call::tool(place, "credential_list", Value::Object(input)).await?
        }
        Credential::Expiring { within } => {
            call::tool(place, "credential_expiring", Value::Object(given([("within", within)]))).await?
        }
        Credential::Put(args) => call::tool(place, "credential_put", Value::Object(put(args)?)).await?,
        Credential::Rotate { name, restore, no_secret } => {
            let mut input = given([("name", Some(name))]);
            if restore {
                input.insert("restore".to_owned(), true.into());
            } else if !no_secret {
                ask_for_secret(&mut input)?;
            }
            call::tool(place, "credential_rotate", Value::Object(input)).await?
        }
        Credential::Get { name, purpose, yes } => return get(place, &name, &purpose, yes).await,
        Credential::Remove { name, yes } => {
            call::confirmed_tool(place, "credential_remove", json!({ "name": name }), yes).await?
        }
    };
    output::print(Form::of(place), &answer)
}

fn put(args: CredentialPut) -> Result<Map<String, Value>> {
    let mut input = given([
        ("name", Some(args.name)),
        ("kind", args.kind),
        ("username", args.username),
        ("target", args.target),
        ("header", args.header),
        ("expires", args.expires),
        ("notes", args.notes),
    ]);
    for (field, list) in [("uses", args.uses), ("pins", args.pins)] {
        if !list.is_empty() {
            input.insert(field.to_owned(), list.into());
        }
    }
    if let Some(level) = args.level {
        input.insert("level".to_owned(), level.number().into());
    }
    if !args.no_secret {
        ask_for_secret(&mut input)?;
    }
    Ok(input)
}

fn ask_for_secret(input: &mut Map<String, Value>) -> Result<()> {
    let secret = prompt::secret("secret", "Secret", Typed::Twice)?;
    input.insert("secret".to_owned(), secret.as_str().into());
    Ok(())
}

async fn get(place: &Place, name: &str, purpose: &str, yes: bool) -> Result<()> {
    let input = json!({ "name": name, "purpose": purpose });
    let shown = call::confirmed_tool(place, "credential_get", input, yes).await?;
    if place.json_out {
        return output::print(Form::Json, &shown);
    }
    let Some(secret) = shown.get("secret").and_then(Value::as_str) else {
        return Err(Error::new(Code::Internal, "the answer holds no secret"));
    };
    if shown["encoding"] == "base64" {
        output::note("It is in base64, since it is no plain text.");
    }
    output::line(secret)
}

/// The fields that were given.
fn given<const N: usize>(fields: [(&str, Option<String>); N]) -> Map<String, Value> {
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))).collect()
}
