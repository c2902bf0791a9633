//! Fixtures that answer at once, with content, logs, progress or a question in between.

use std::time::Duration;

use rmcp::ErrorData;
use rmcp::model::{
    CallToolResult, ClientCapabilities, ContentBlock, CreateMessageRequestParams, LoggingLevel,
    ProgressNotificationParam, ResourceContents, SamplingMessage, Tool,
};
use serde_json::{Value, json};

use super::content::{PNG, WAV};
use super::input::{elicitation, form, need};
use super::{Answer, Fixture, failure, object, text};

const PAUSE: Duration = Duration::from_millis(50);

/// Those without arguments.
const PLAIN: &[&str] = &[
    "test_simple_text",
    "test_image_content",
    "test_audio_content",
    "test_embedded_resource",
    "test_multiple_content_types",
    "test_tool_with_logging",
    "test_error_handling",
    "test_tool_with_progress",
    "test_elicitation_sep1034_defaults",
    "test_elicitation_sep1330_enums",
    "test_reconnection",
    "test_trigger_tool_change",
    "test_trigger_prompt_change",
    "test_missing_capability",
    "test_streaming_elicitation",
    "test_logging_tool",
    "test_input_required_result_elicitation",
    "test_input_required_result_sampling",
    "test_input_required_result_list_roots",
    "test_input_required_result_request_state",
    "test_input_required_result_multiple_inputs",
    "test_input_required_result_multi_round",
    "test_input_required_result_tampered_state",
    "test_input_required_result_capabilities",
];

const WITH_ARGUMENTS: &[&str] =
    &["test_sampling", "test_elicitation", "test_custom_header", "json_schema_2020_12_tool", "test_slow_steps"];

pub fn has(name: &str) -> bool {
    PLAIN.contains(&name) || WITH_ARGUMENTS.contains(&name)
}

pub fn list() -> Vec<Tool> {
    let names = PLAIN.iter().chain(WITH_ARGUMENTS);
    names.map(|name| Tool::new(*name, format!("conformance fixture {name}"), object(schema(name)))).collect()
}

fn schema(name: &str) -> Value {
    match name {
        "test_sampling" => {
            json!({ "type": "object", "properties": { "prompt": { "type": "string" } }, "required": ["prompt"] })
        }
        "test_elicitation" => {
            json!({ "type": "object", "properties": { "message": { "type": "string" } }, "required": ["message"] })
        }
        "test_custom_header" => json!({
            "type": "object", "required": ["value"],
            "properties": { "value": { "type": "string", "x-mcp-header": "Value" } },
        }),
        "test_slow_steps" => json!({
            "type": "object",
            "properties": { "steps": { "type": "integer" }, "step_ms": { "type": "integer" } },
        }),
        "json_schema_2020_12_tool" => json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
            "$defs": { "address": { "$anchor": "address", "type": "object",
                "properties": { "street": { "type": "string" }, "city": { "type": "string" } } } },
            "properties": { "name": { "type": "string" }, "address": { "$ref": "#/$defs/address" } },
            "allOf": [{ "anyOf": [{ "required": ["name"] }, { "required": ["address"] }] }],
            "if": { "required": ["address"] },
            "then": { "properties": { "address": { "required": ["street"] } } },
            "else": { "required": ["name"] },
            "additionalProperties": false,
        }),
        _ => json!({ "type": "object", "properties": {} }),
    }
}

pub async fn call(name: &str, fixture: Fixture<'_>) -> Answer {
    let watchers = &fixture.handler.shared.watchers;
    let result = match name {
        "test_tool_with_logging" => {
            for message in ["Tool execution started", "Tool processing data", "Tool execution completed"] {
                fixture.handler.log(&fixture.cx, LoggingLevel::Info, json!(message)).await;
                tokio::time::sleep(PAUSE).await;
            }
            text("Logging test completed")
        }
        "test_logging_tool" => {
            fixture.handler.log(&fixture.cx, LoggingLevel::Info, json!("logLevel was requested")).await;
            text("done")
        }
        "test_tool_with_progress" => {
            for done in [0.0, 50.0, 100.0] {
                fixture.progress(done, 100.0).await;
                tokio::time::sleep(PAUSE).await;
            }
            text("Progress test completed")
        }
        "test_slow_steps" => return slow_steps(&fixture).await,
        "test_sampling" => return sampling(&fixture).await,
        "test_elicitation" | "test_elicitation_sep1034_defaults" | "test_elicitation_sep1330_enums" => {
            return ask(name, &fixture).await;
        }
        "test_custom_header" => text(fixture.text("value")),
        "test_reconnection" => {
            tokio::time::sleep(2 * PAUSE).await;
            text("Reconnection test completed")
        }
        "test_trigger_tool_change" => {
            watchers.tools_changed().await;
            text("ok")
        }
        "test_trigger_prompt_change" => {
            watchers.prompts_changed().await;
            text("ok")
        }
        "test_missing_capability" => {
            let can = fixture.cx.client_capabilities();
            if can.is_none_or(|can| can.sampling.is_none()) {
                let needed = ClientCapabilities::builder().enable_sampling().build();
                return Err(ErrorData::missing_required_client_capability(needed));
            }
            text("ok")
        }
        "test_streaming_elicitation" => {
            return need("streaming_elicitation", elicitation("Value?", "value", "string"));
        }
        _ => fixed(name),
    };
    Ok(result.into())
}

fn fixed(name: &str) -> CallToolResult {
    match name {
        "test_simple_text" => text("This is a simple text response for testing."),
        "test_image_content" => CallToolResult::success(vec![ContentBlock::image(PNG, "image/png")]),
        "test_audio_content" => CallToolResult::success(vec![ContentBlock::audio(WAV, "audio/wav")]),
        "test_embedded_resource" => {
            let contents = ResourceContents::text("This is an embedded resource content.", "test://embedded-resource");
            CallToolResult::success(vec![ContentBlock::resource(contents.with_mime_type("text/plain"))])
        }
        "test_multiple_content_types" => {
            let data = json!({ "test": "data", "value": 123 }).to_string();
            let contents = ResourceContents::text(data, "test://mixed-content-resource");
            CallToolResult::success(vec![
                ContentBlock::text("Multiple content types test:"),
                ContentBlock::image(PNG, "image/png"),
                ContentBlock::resource(contents.with_mime_type("application/json")),
            ])
        }
        "json_schema_2020_12_tool" => text("Hello"),
        _ => failure("This tool intentionally returns an error for testing"),
    }
}

impl Fixture<'_> {
    async fn progress(&self, done: f64, total: f64) {
        if let Some(token) = self.cx.meta.get_progress_token() {
            let note = ProgressNotificationParam::new(token, done).with_total(total);
            let _ = self.cx.peer.notify_progress(note.with_message(format!("{done} of {total}"))).await;
        }
    }
}

async fn slow_steps(fixture: &Fixture<'_>) -> Answer {
    let number = |name: &str, default| fixture.arguments.get(name).and_then(Value::as_u64).unwrap_or(default);
    let (steps, pause) = (number("steps", 10).min(1_000), Duration::from_millis(number("step_ms", 100).min(60_000)));
    for step in 1..=steps {
        tokio::select! {
            () = fixture.cx.ct.cancelled() => {
                tracing::warn!(step, "test_slow_steps cancelled by client");
                return Err(ErrorData::internal_error("cancelled", None));
            }
            () = tokio::time::sleep(pause) => {}
        }
        fixture.progress(step as f64, steps as f64).await;
    }
    Ok(text(format!("{steps} steps done")).into())
}

async fn sampling(fixture: &Fixture<'_>) -> Answer {
    let messages = vec![SamplingMessage::user_text(fixture.text("prompt"))];
    let answer = fixture.cx.peer.create_message(CreateMessageRequestParams::new(messages, 100)).await;
    Ok(match answer {
        Ok(answer) => text(format!("LLM response: {}", json!(answer.message))),
        Err(error) => failure(error.to_string()),
    }
    .into())
}

async fn ask(name: &str, fixture: &Fixture<'_>) -> Answer {
    let schema = match name {
        "test_elicitation" => json!({
            "type": "object", "required": ["username", "email"],
            "properties": {
                "username": { "type": "string", "description": "User's response" },
                "email": { "type": "string", "description": "User's email address" },
            },
        }),
        "test_elicitation_sep1034_defaults" => json!({ "type": "object", "properties": {
            "name": { "type": "string", "default": "John Doe" },
            "age": { "type": "integer", "default": 30 },
            "score": { "type": "number", "default": 95.5 },
            "status": { "type": "string", "enum": ["active", "inactive", "pending"], "default": "active" },
            "verified": { "type": "boolean", "default": true },
        }}),
        _ => json!({ "type": "object", "properties": {
            "untitledSingle": { "type": "string", "enum": ["option1", "option2", "option3"] },
            "titledSingle": { "type": "string", "oneOf": [
                { "const": "value1", "title": "First Option" },
                { "const": "value2", "title": "Second Option" },
                { "const": "value3", "title": "Third Option" },
            ]},
            "legacyEnum": { "type": "string", "enum": ["opt1", "opt2", "opt3"],
                "enumNames": ["Option One", "Option Two", "Option Three"] },
            "untitledMulti": { "type": "array",
                "items": { "type": "string", "enum": ["option1", "option2", "option3"] } },
            "titledMulti": { "type": "array", "items": { "anyOf": [
                { "const": "value1", "title": "First Choice" },
                { "const": "value2", "title": "Second Choice" },
                { "const": "value3", "title": "Third Choice" },
            ]}},
        }}),
    };
    let message = match fixture.text("message") {
        message if message.is_empty() => "Please answer".to_owned(),
        message => message,
    };
    Ok(match fixture.cx.peer.create_elicitation(form(&message, schema)).await {
        Ok(answer) => text(format!("User response: {}", json!(answer))),
        Err(error) => failure(error.to_string()),
    }
    .into())
}
