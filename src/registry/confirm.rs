//! Approval of destructive calls: a plan first, then a person, then the call itself, once.
//!
//! An approval is bound to the caller, the tool, the exact arguments and the state that
//! the plan was made from; when one of them has changed it is worth nothing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::app::{App, Context};
use crate::error::{Code, Error, Result};
use crate::id;
use crate::registry::fence;
use crate::store::approvals::{self, Approval};

/// What a destructive call would do.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    pub summary: String,
    pub effects: Vec<String>,
    /// What is there now; the approval holds for exactly this.
    pub before: Value,
    pub reversible: Reversible,
}

/// Whether the effect can be undone, and how.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum Reversible {
    Yes { how: String },
    Snapshot { how: String },
    No,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Approve,
    Reject,
}

/// Writes down the plan for a person, and makes the error that carries it to the caller.
pub(super) async fn propose(cx: &Context, input: &Value, plan: Plan) -> Result<Error> {
    let now = cx.now();
    let mut shown = serde_json::to_value(&plan).map_err(Error::internal)?;
    // The plan leaves inside an error, which is not cleaned as answers are; both are kept and shown to a person.
    let mut input = input.clone();
    for value in [&mut shown, &mut input] {
        fence::clean_answer(&cx.app.secrets, value);
    }
    let approval = Approval {
        approval_id: id::approval_id(),
        principal: cx.caller.principal.clone(),
        tool: cx.tool.to_owned(),
        input: input.to_string(),
        input_digest: cx.input_digest.clone(),
        state_digest: state_digest(&cx.app, &plan),
        plan: shown.to_string(),
        created_at: now,
        expires_at: now + cx.app.config.approvals.ttl,
        state: "pending".to_owned(),
        decided_by: None,
    };
    let approval_id = approval.approval_id.clone();
    cx.app.store.write(move |tx| approvals::insert(tx, &approval)).await?;
    Ok(Error::new(Code::Unconfirmed, format_args!("{}; a person has to approve it first", plan.summary))
        .with_hint(format_args!(
            "ask the owner to run `hearth approve {approval_id}`, then repeat the call with approval_id `{approval_id}`"
        ))
        .with_approval(approval_id, shown))
}

/// Spends the approval if it is for this very call and state.
pub(super) async fn redeem(cx: &Context, approval_id: &str, plan: &Plan) -> Result<()> {
    let (id, now) = (approval_id.to_owned(), cx.now());
    let (principal, tool) = (cx.caller.principal.clone(), cx.tool);
    let (input_digest, state_digest) = (cx.input_digest.clone(), state_digest(&cx.app, plan));
    let refuse =
        |message: String| Error::new(Code::Unconfirmed, message).with_hint("call without approval_id for a new plan");
    cx.app
        .store
        .write(move |tx| {
            // Another's approval reads like none: an id is not a credential.
            let found = approvals::get(tx, &id)?.filter(|found| found.principal == principal && now < found.expires_at);
            let Some(found) = found else {
                return Err(refuse(format!("no approval `{id}` for you; it may have expired")));
            };
            if found.tool != tool || found.input_digest != input_digest {
                return Err(refuse(format!("approval `{id}` is for other arguments")));
            }
            if found.state_digest != state_digest {
                return Err(refuse(format!("what approval `{id}` was given for has changed since")));
            }
            match found.state.as_str() {
                "pending" => {
                    Err(Error::new(Code::Unconfirmed, format_args!("approval `{id}` still waits for a person"))
                        .with_hint(format_args!("ask the owner to run `hearth approve {id}`"))
                        .with_approval(id.clone(), serde_json::from_str(&found.plan).unwrap_or(Value::Null)))
                }
                "approved" if approvals::spend(tx, &id)? => Ok(()),
                "rejected" => Err(Error::forbidden(format_args!("a person has rejected approval `{id}`"))),
                _ => Err(refuse(format!("approval `{id}` has been used"))),
            }
        })
        .await
}

/// A person's word on a waiting approval; `by` says who and through what.
pub async fn decide(app: &App, approval_id: &str, by: &str, decision: Decision) -> Result<Approval> {
    let (id, by, now) = (approval_id.to_owned(), by.to_owned(), app.clock.now());
    let state = match decision {
        Decision::Approve => "approved",
        Decision::Reject => "rejected",
    };
    app.store.write(move |tx| approvals::decide(tx, &id, state, &by, now)).await
}

fn state_digest(app: &App, plan: &Plan) -> String {
    digest(app, &plan.before)
}

/// A digest of JSON in which the order of fields does not matter: serde_json sorts them. It is
/// keyed, since whoever read a bare hash of a short secret in the audit chain could guess it.
pub(super) fn digest(app: &App, value: &Value) -> String {
    let text = Zeroizing::new(value.to_string());
    blake3::keyed_hash(app.keys.digest.expose(), text.as_bytes()).to_hex()[..32].to_owned()
}
