//! Fixtures that need more input and are called again with it (2026-07-28).

use rmcp::ErrorData;
use rmcp::model::{
    CreateMessageRequest, CreateMessageRequestParams, ElicitRequest, ElicitRequestParams, ElicitationSchema,
    InputRequest, InputRequests, InputRequiredResult, ListRootsRequest, SamplingMessage,
};
use serde_json::{Value, json};

use super::{Answer, Fixture, text};

pub const PREFIX: &str = "test_input_required_result_";

pub fn form(message: &str, schema: Value) -> ElicitRequestParams {
    let requested_schema =
        serde_json::from_value(schema).unwrap_or_else(|_| ElicitationSchema::new(Default::default()));
    ElicitRequestParams::FormElicitationParams { meta: None, message: message.to_owned(), requested_schema }
}

pub fn elicitation(message: &str, property: &str, kind: &str) -> InputRequest {
    let schema = json!({ "type": "object", "properties": { property: { "type": kind } }, "required": [property] });
    InputRequest::Elicitation(ElicitRequest::new(form(message, schema)))
}

fn sampling(prompt: &str) -> InputRequest {
    let messages = vec![SamplingMessage::user_text(prompt)];
    InputRequest::CreateMessage(CreateMessageRequest::new(CreateMessageRequestParams::new(messages, 100)))
}

fn roots() -> InputRequest {
    InputRequest::ListRoots(ListRootsRequest::default())
}

pub fn need(name: &str, request: InputRequest) -> Answer {
    Ok(InputRequiredResult::from_input_requests(all([(name, request)])).into())
}

fn all<const N: usize>(requests: [(&str, InputRequest); N]) -> InputRequests {
    requests.into_iter().map(|(name, request)| (name.to_owned(), request)).collect()
}

pub fn call(name: &str, fixture: &Fixture<'_>) -> Answer {
    let codec = &fixture.handler.shared.codec;
    let broken = |_| ErrorData::invalid_params("requestState failed integrity verification", None);
    match name.trim_start_matches(PREFIX) {
        "elicitation" => match fixture.answered("user_name") {
            Some(answer) => {
                let name = answer["content"]["name"].as_str().unwrap_or("friend");
                Ok(text(format!("Hello, {name}!")).into())
            }
            None => need("user_name", elicitation("What is your name?", "name", "string")),
        },
        "sampling" => match fixture.answered("capital_question") {
            Some(answer) => Ok(text(format!("Sampling response: {}", answer["content"])).into()),
            None => need("capital_question", sampling("What is the capital of France?")),
        },
        "list_roots" => match fixture.answered("client_roots") {
            Some(answer) => Ok(text(format!("Client roots: {}", answer["roots"])).into()),
            None => need("client_roots", roots()),
        },
        "request_state" | "tampered_state" => match &fixture.state {
            Some(state) => {
                codec.open(state).map_err(broken)?;
                Ok(text("Confirmed: state-ok").into())
            }
            None => {
                let requests = all([("confirm", elicitation("Please confirm", "ok", "boolean"))]);
                Ok(InputRequiredResult::new(Some(requests), Some(codec.seal(b"confirm"))).into())
            }
        },
        "multiple_inputs" => {
            if let Some(state) = &fixture.state {
                codec.open(state).map_err(broken)?;
            }
            let has_all = ["user_name", "greeting", "client_roots"].iter().all(|name| fixture.answered(name).is_some());
            if has_all && fixture.state.is_some() {
                return Ok(text("All inputs received").into());
            }
            let requests = all([
                ("user_name", elicitation("What is your name?", "name", "string")),
                ("greeting", sampling("Generate a greeting")),
                ("client_roots", roots()),
            ]);
            Ok(InputRequiredResult::new(Some(requests), Some(codec.seal(b"gather"))).into())
        }
        "multi_round" => {
            let round = match &fixture.state {
                None => 0,
                Some(state) => codec.open_json::<u32>(state).map_err(broken)?,
            };
            if 2 <= round {
                return Ok(text("Multi-round flow complete").into());
            }
            let step = format!("step{}", round + 1);
            let requests = all([(step.as_str(), elicitation("Next?", "name", "string"))]);
            let sealed = codec.seal_json(&(round + 1));
            let sealed = sealed.map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
            Ok(InputRequiredResult::new(Some(requests), Some(sealed)).into())
        }
        _ => capabilities(fixture),
    }
}

/// Asks for whatever the client says it can give.
fn capabilities(fixture: &Fixture<'_>) -> Answer {
    if fixture.responses.is_some() {
        return Ok(text("done").into());
    }
    let can = fixture.cx.meta.client_capabilities().unwrap_or_default();
    let mut requests = InputRequests::new();
    if can.elicitation.is_some() {
        requests.insert("user_name".into(), elicitation("Name?", "name", "string"));
    }
    if can.sampling.is_some() {
        requests.insert("greeting".into(), sampling("Generate a greeting"));
    }
    if can.roots.is_some() {
        requests.insert("client_roots".into(), roots());
    }
    if requests.is_empty() {
        return Ok(text("none declared").into());
    }
    Ok(InputRequiredResult::from_input_requests(requests).into())
}
