//! A tool call: through the registry, and back as a result in both forms.

// The newest revision deprecates logging; clients of all revisions still ask for it.
#![allow(deprecated)]

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rmcp::model::{CallToolRequestParams, CallToolResponse, CallToolResult, LoggingLevel, ProgressNotificationParam};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::{Map, Value, json};

use super::handler::{Handler, protocol_error};
use super::{conformance, elicit};
use crate::app::context::Step;
use crate::app::{Caller, Progress};
use crate::error::{Code, Error, Result};
use crate::registry::Call;

/// A call of a shipped tool, as often as it has to be made.
pub struct ToolCall {
    pub caller: Arc<Caller>,
    pub tool: String,
    pub input: Map<String, Value>,
    progress: Progress,
}

pub async fn call(
    handler: &Handler,
    mut request: CallToolRequestParams,
    cx: RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    if let Some(fixtures) = &handler.shared.fixtures
        && fixtures.has(&request.name)
    {
        return conformance::call(handler, fixtures, request, cx).await;
    }
    let caller = handler.caller(&cx)?;
    let known = handler.shared.registry.find(&request.name).filter(|tool| !tool.entry.person_only);
    let Some(known) = known else {
        return Err(ErrorData::invalid_params(format!("unknown tool `{}`", request.name.escape_debug()), None));
    };
    let call = ToolCall {
        caller,
        tool: known.entry.name.to_owned(),
        input: request.arguments.take().unwrap_or_default(),
        progress: progress(&cx),
    };
    let outcome = match request.request_state {
        // The second round: the client brings what the person said.
        Some(state) => elicit::answered(handler, call, &state, request.input_responses, &cx).await?,
        None => match call.run(handler, &cx, None).await {
            Err(error) if error.code == Code::Unconfirmed && error.approval().is_some() => {
                match elicit::ask(handler, call, error, &cx).await? {
                    elicit::Asked::Later(question) => return Ok(question.into()),
                    elicit::Asked::Now(outcome) => outcome,
                }
            }
            outcome => outcome,
        },
    };
    let result = respond(outcome);
    if let Err(error) = &result {
        handler.log(&cx, LoggingLevel::Error, json!({ "error": error.message, "data": error.data })).await;
    }
    result.map(Into::into)
}

impl ToolCall {
    /// A sign of life while a person is being asked.
    pub async fn waits(&self, since: Duration) {
        let done = since.as_secs_f64();
        self.progress.tell(Step { done, total: None, message: "waiting for a person's answer".to_owned() }).await;
    }

    /// Runs the tool, with an approval where there is one.
    pub async fn run(
        &self,
        handler: &Handler,
        cx: &RequestContext<RoleServer>,
        approval_id: Option<&str>,
    ) -> Result<Value> {
        let mut input = self.input.clone();
        if let Some(approval_id) = approval_id {
            input.insert("approval_id".to_owned(), Value::from(approval_id));
        }
        let call = Call {
            caller: Arc::clone(&self.caller),
            tool: self.tool.clone(),
            input: Value::Object(input),
            cancel: cx.ct.clone(),
            progress: self.progress.clone(),
        };
        handler.shared.registry.invoke(call).await
    }
}

/// The answer as structured content and as text; a refusal is one, too, so that the model sees it.
pub fn respond(outcome: Result<Value>) -> Result<CallToolResult, ErrorData> {
    match outcome {
        Ok(output) => Ok(CallToolResult::structured(output)),
        Err(error) if error.code.is_protocol_error() => Err(protocol_error(&error)),
        Err(error) => {
            let body = serde_json::to_value(error.body());
            let body = body.map_err(|error| protocol_error(&Error::internal(error)))?;
            Ok(CallToolResult::structured_error(body))
        }
    }
}

/// Where the client asked for it, tells how far the call has come; the numbers only rise.
fn progress(cx: &RequestContext<RoleServer>) -> Progress {
    let Some(token) = cx.meta.get_progress_token() else { return Progress::none() };
    let (peer, last) = (cx.peer.clone(), Arc::new(Mutex::new(Last::default())));
    Progress::to(move |step| {
        let done = last.lock().unwrap_or_else(PoisonError::into_inner).rise(&step);
        let mut note = ProgressNotificationParam::new(token.clone(), done).with_message(step.message);
        if let Some(total) = step.total {
            note = note.with_total(total);
        }
        let peer = peer.clone();
        Box::pin(async move {
            // The call goes on without a listener.
            let _ = tokio::time::timeout(super::handler::PATIENCE, peer.notify_progress(note)).await;
        })
    })
}

/// The number told last.
#[derive(Default)]
struct Last {
    done: Option<f64>,
    has_total: bool,
}

impl Last {
    /// A sign of life counts seconds, which mean nothing on the scale of a tool that counts steps.
    fn rise(&mut self, step: &Step) -> f64 {
        const NUDGE: f64 = 1e-3;
        let is_sign_of_life = self.has_total && step.total.is_none();
        self.has_total |= step.total.is_some();
        let done = match self.done {
            Some(last) if is_sign_of_life || step.done <= last => last + NUDGE,
            _ => step.done,
        };
        self.done = Some(done);
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_rises_and_keeps_to_the_scale_of_the_tool() {
        let step = |done, total| Step { done, total, message: String::new() };
        let mut last = Last::default();
        let told: Vec<f64> = [step(1.0, Some(3.0)), step(10.0, None), step(2.0, Some(3.0)), step(2.0, Some(3.0))]
            .iter()
            .map(|step| last.rise(step))
            .collect();
        assert!(told.is_sorted_by(|a, b| a < b) && told[3] < 3.0, "{told:?}");
    }

    #[test]
    fn a_refusal_is_in_band_and_a_failure_is_not() {
        let result = respond(Err(Error::not_found("no host `x`"))).unwrap();
        assert_eq!(result.is_error, Some(true));
        assert_eq!(result.structured_content.unwrap()["code"], "not_found");
        let error = respond(Err(Error::unavailable("stopping"))).unwrap_err();
        assert_eq!(error.code.0, -32603);
    }
}
