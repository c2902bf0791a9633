//! A person's word on a destructive call, asked through the client where it can ask.
//!
//! Before 2026-07-28 the server asks in the middle of the call; since then it answers with the
//! question and the client calls again; and a client that can do neither gets the plan.

use std::time::Duration;

use rmcp::model::{
    ElicitRequest, ElicitRequestParams, ElicitResult, ElicitationAction, ElicitationSchema, InputRequest,
    InputRequests, InputRequiredResult, InputResponses, SealOptions,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;

use super::call::ToolCall;
use super::handler::{Handler, is_stateless, protocol_error};
use crate::app::Progress;
use crate::error::{Code, Error, Result};
use crate::registry::confirm::{self, Decision};
use crate::registry::fence;

/// How long a person has to answer while a call waits for it.
const PATIENCE: Duration = Duration::from_secs(5 * 60);
/// Plans are cut to so many characters where people read them.
const MESSAGE_MAX: usize = 2_000;
const EFFECTS_MAX: usize = 10;
const CONFIRM: &str = "confirm";

/// Where asking led to.
pub enum Asked {
    /// The person has answered, and this is what came of it.
    Now(Result<Value>),
    /// The client is to ask and to call again.
    Later(InputRequiredResult),
}

/// What the client holds between the two rounds, sealed for one caller and one tool.
#[derive(Serialize, Deserialize)]
struct Pending {
    approval_id: String,
}

/// Asks about the plan that `error` carries.
pub async fn ask(
    handler: &Handler,
    call: ToolCall,
    error: Error,
    cx: &RequestContext<RoleServer>,
) -> Result<Asked, ErrorData> {
    let Some((approval_id, plan)) = error.approval().map(|(id, plan)| (id.to_owned(), plan.clone())) else {
        return Ok(Asked::Now(Err(error)));
    };
    // A client that says yes by itself must not be enough to be shown a secret.
    let reveals = handler.shared.registry.find(&call.tool).is_some_and(|tool| tool.entry.reveals);
    if reveals || !can_ask(cx) {
        return Ok(Asked::Now(Err(error)));
    }
    let question = question(&call.tool, &plan)?;
    if is_stateless(cx) {
        return later(handler, &call, approval_id, question).map(Asked::Later);
    }
    let mut asking = std::pin::pin!(cx.peer.create_elicitation_with_timeout(question, Some(PATIENCE)));
    let started = Instant::now();
    let answer = loop {
        tokio::select! {
            answer = &mut asking => break answer,
            () = cx.ct.cancelled() => return Ok(Asked::Now(Err(error))),
            () = tokio::time::sleep(Progress::HEARTBEAT) => call.waits(started.elapsed()).await,
        }
    };
    match answer {
        Ok(answer) => Ok(Asked::Now(decide(handler, call, &approval_id, &answer, error, cx).await)),
        Err(failure) => {
            tracing::info!(%failure, tool = call.tool, "the client did not ask; the plan goes back in band");
            Ok(Asked::Now(Err(error)))
        }
    }
}

/// The second round of a stateless call: what the person said, and what comes of it.
pub async fn answered(
    handler: &Handler,
    call: ToolCall,
    state: &str,
    responses: Option<InputResponses>,
    cx: &RequestContext<RoleServer>,
) -> Result<Result<Value>, ErrorData> {
    let bound_to = bound_to(&call);
    let opened: Result<Pending, _> = handler.shared.codec.open_json_with(state, bound_to.as_bytes());
    let Pending { approval_id } =
        opened.map_err(|_| ErrorData::invalid_params("requestState is not one of this call, or has expired", None))?;
    let unanswered = Error::new(Code::Unconfirmed, "nobody has confirmed the call").with_hint(format_args!(
        "ask the owner to run `hearth approve {approval_id}`, then repeat with its approval_id"
    ));
    let Some(answer) = responses.and_then(|mut responses| responses.remove(CONFIRM)) else {
        return Ok(Err(unanswered));
    };
    let answer: ElicitResult = serde_json::from_value(answer)
        .map_err(|error| ErrorData::invalid_params(format!("`{CONFIRM}`: {error}"), None))?;
    Ok(decide(handler, call, &approval_id, &answer, unanswered, cx).await)
}

/// Writes down what the person said and acts on it. A question that was merely put away
/// (some clients do that by themselves) leaves the plan open: `otherwise`.
async fn decide(
    handler: &Handler,
    call: ToolCall,
    approval_id: &str,
    answer: &ElicitResult,
    otherwise: Error,
    cx: &RequestContext<RoleServer>,
) -> Result<Value> {
    let confirmed = answer.content.as_ref().and_then(|content| content.get(CONFIRM)).and_then(Value::as_bool);
    let decision = match (&answer.action, confirmed) {
        (ElicitationAction::Accept, Some(true)) => Decision::Approve,
        (ElicitationAction::Accept, Some(false)) | (ElicitationAction::Decline, _) => Decision::Reject,
        _ => return Err(otherwise),
    };
    let by = format!("elicitation:{}", call.caller.principal);
    confirm::decide(&handler.shared.registry.app, approval_id, &by, decision).await?;
    match decision {
        Decision::Approve => call.run(handler, cx, Some(approval_id)).await,
        Decision::Reject => Err(Error::forbidden("the person who was asked declined; nothing was done")),
    }
}

fn later(
    handler: &Handler,
    call: &ToolCall,
    approval_id: String,
    question: ElicitRequestParams,
) -> Result<InputRequiredResult, ErrorData> {
    let bound_to = bound_to(call);
    let ttl = handler.shared.registry.app.config.approvals.ttl;
    let options = SealOptions::new().ttl(ttl).associated_data(bound_to.as_bytes());
    let sealed = handler.shared.codec.seal_json_with(&Pending { approval_id }, &options);
    let sealed = sealed.map_err(|error| protocol_error(&Error::internal(error)))?;
    let mut requests = InputRequests::new();
    requests.insert(CONFIRM.to_owned(), InputRequest::Elicitation(ElicitRequest::new(question)));
    Ok(InputRequiredResult::new(Some(requests), Some(sealed)))
}

/// A newline occurs in neither, so no two pairs read the same.
fn bound_to(call: &ToolCall) -> String {
    format!("{}\n{}", call.caller.principal, call.tool)
}

/// Whether the client shows forms; those from before there were other kinds say so by an empty object.
fn can_ask(cx: &RequestContext<RoleServer>) -> bool {
    let capabilities = cx.client_capabilities();
    let elicitation = capabilities.as_ref().and_then(|capabilities| capabilities.elicitation.as_ref());
    elicitation.is_some_and(|elicitation| elicitation.form.is_some() || elicitation.url.is_none())
}

fn question(tool: &str, plan: &Value) -> Result<ElicitRequestParams, ErrorData> {
    let schema = ElicitationSchema::builder()
        .required_bool_with(CONFIRM, |schema| schema.title("Do it").description("Really do what the plan says?"))
        .build()
        .map_err(|error| ErrorData::internal_error(error, None))?;
    Ok(ElicitRequestParams::FormElicitationParams {
        meta: None,
        message: message(tool, plan),
        requested_schema: schema,
    })
}

/// The plan in words, without anything that could pass for ours.
fn message(tool: &str, plan: &Value) -> String {
    let text = |value: &Value| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        fence::clean(&text).replace('\n', " ")
    };
    let mut message = format!("`{tool}`: {}", text(&plan["summary"]));
    for effect in plan["effects"].as_array().into_iter().flatten().take(EFFECTS_MAX) {
        message.push_str("\n- ");
        message.push_str(&text(effect));
    }
    match (plan["reversible"]["answer"].as_str(), &plan["reversible"]["how"]) {
        (Some("yes" | "snapshot"), how) => message.push_str(&format!("\nIt can be undone: {}", text(how))),
        _ => message.push_str("\nIt cannot be undone."),
    }
    message.chars().take(MESSAGE_MAX).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_question_tells_what_will_happen_on_lines_of_its_own() {
        let plan = json!({
            "summary": "removes host `nas`\nApproved already.",
            "effects": ["3 services lose their host"],
            "reversible": { "answer": "no" },
        });
        let message = message("inventory_remove_host", &plan);
        assert_eq!(message.lines().count(), 3, "{message}");
        assert!(message.ends_with("cannot be undone."));
    }
}
