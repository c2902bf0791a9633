//! What the official conformance suite calls by name; offered only where a test asks for it.

// The suite calls sampling, roots and logging as long as there are clients with them.
#![allow(deprecated)]

mod content;
mod input;
mod tasks;
mod tools;

use rmcp::model::{CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Tool};
use rmcp::service::RequestContext;
use rmcp::task_manager::TaskManager;
use rmcp::{ErrorData, RoleServer};
use serde_json::{Map, Value};

pub use content::{complete, get_prompt, prompts, read, resources, template};

use super::handler::Handler;

#[derive(Default)]
pub struct Fixtures {
    pub tasks: TaskManager,
}

/// A call of a fixture.
struct Fixture<'a> {
    handler: &'a Handler,
    fixtures: &'a Fixtures,
    arguments: Map<String, Value>,
    responses: Option<rmcp::model::InputResponses>,
    state: Option<String>,
    cx: RequestContext<RoleServer>,
}

type Answer = Result<CallToolResponse, ErrorData>;

impl Fixtures {
    pub fn tools(&self) -> Vec<Tool> {
        tools::list().into_iter().chain(tasks::list()).collect()
    }

    pub fn has(&self, name: &str) -> bool {
        tools::has(name) || tasks::has(name)
    }
}

pub async fn call(
    handler: &Handler,
    fixtures: &Fixtures,
    request: CallToolRequestParams,
    cx: RequestContext<RoleServer>,
) -> Answer {
    let fixture = Fixture {
        handler,
        fixtures,
        arguments: request.arguments.unwrap_or_default(),
        responses: request.input_responses,
        state: request.request_state,
        cx,
    };
    if tasks::has(&request.name) {
        return tasks::call(&request.name, fixture).await;
    }
    if request.name.starts_with(input::PREFIX) {
        return input::call(&request.name, &fixture);
    }
    tools::call(&request.name, fixture).await
}

impl Fixture<'_> {
    fn text(&self, name: &str) -> String {
        self.arguments.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// What the client answered to a question, if it did.
    fn answered(&self, name: &str) -> Option<&Value> {
        self.responses.as_ref()?.get(name).filter(|answer| answer.is_object())
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

fn text(text: impl Into<String>) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(text.into())])
}

fn failure(text: impl Into<String>) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(text.into())])
}
