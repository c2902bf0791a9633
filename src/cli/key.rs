//! `hearth key`: the root key, for its owner.

use serde_json::{Value, json};

use super::args::{Key, Place};
use super::output::{self, Form};
use super::prompt::{self, Typed};
use super::{call, place};
use crate::error::{Code, Error, Result};
use crate::secret::Secret;
use crate::store;
use crate::vault::kit;
use crate::vault::source::{KeyFile, Stored};

const CODE: &str = "Code on the kit, in one line";

pub async fn run(place: &Place, command: Key) -> Result<()> {
    let answer = match command {
        Key::Status => call::tool(place, "key_status", json!({})).await?,
        Key::Compromise => call::tool(place, "key_compromise", json!({})).await?,
        Key::Rotate => rotate(place).await?,
        Key::Unlock => {
            let passphrase = prompt::secret("passphrase", "Passphrase", Typed::Once)?;
            call::tool(place, "key_unlock", json!({ "passphrase": *passphrase })).await?
        }
        Key::Verify => verify(place, &prompt::secret("code", CODE, Typed::Once)?).await?,
        Key::Restore => restore(place).await?,
        Key::Kit => return kit(place).await,
    };
    output::print(Form::of(place), &answer)
}

async fn rotate(place: &Place) -> Result<Value> {
    let status = call::tool(place, "key_status", json!({})).await?;
    let input = match status["passphrase"].as_bool() {
        Some(true) => json!({ "passphrase": *prompt::secret("passphrase", "Passphrase", Typed::Once)? }),
        _ => json!({}),
    };
    call::tool(place, "key_rotate", input).await
}

async fn verify(place: &Place, code: &str) -> Result<Value> {
    call::tool(place, "key_verify", json!({ "code": code })).await
}

async fn kit(place: &Place) -> Result<()> {
    let made = call::tool(place, "key_kit", json!({})).await?;
    if place.json_out {
        return output::print(Form::Json, &made);
    }
    let Some(page) = made.get("kit").and_then(Value::as_str) else {
        return Err(Error::new(Code::Internal, "the answer holds no kit"));
    };
    output::line(page.trim_end())
}

/// Writes the key file anew, and keeps it only if it opens the database that is there.
async fn restore(place: &Place) -> Result<Value> {
    let path = place::root_key(place)?;
    let file = KeyFile::at(&path, &place.data)?;
    if let Some(known) = file.read()? {
        return Err(Error::conflict(format_args!(
            "there is the root key {} at {} already",
            known.id(),
            path.display()
        ))
        .with_hint("move it away first, or name another file with --root-key"));
    }
    // Else the check below would begin a new database under the old key.
    if !place.data.join(store::FILE).exists() {
        return Err(Error::not_found(format_args!("there is no database in {}", place.data.display()))
            .with_hint("bring it back first, with `hearth restore`, or name its folder with --data"));
    }
    let code = prompt::secret("code", CODE, Typed::Once)?;
    file.create(&Stored::Open(kit::read(&Secret::copied(code.as_bytes()))?))?;
    match verify(place, &code).await {
        Ok(verified) => Ok(verified),
        Err(error) => {
            file.remove()?;
            Err(error)
        }
    }
}
