//! Fixtures of the tasks extension.

use std::future::Future;
use std::time::Duration;

use rmcp::ErrorData;
use rmcp::model::{CallToolResult, ClientCapabilities, CreateTaskResult, Tool};
use rmcp::task_manager::{TaskExit, TaskOptions};
use serde_json::{Value, json};

use super::input::{elicitation, need};
use super::{Answer, Fixture, failure, object, text};

const ALL: &[&str] = &[
    "greet",
    "slow_compute",
    "failing_job",
    "protocol_error_job",
    "confirm_delete",
    "multi_input",
    "test_tool_with_task",
];
/// Those that have no answer for a client without tasks.
const NEED_TASKS: &[&str] = &["failing_job", "test_tool_with_task", "confirm_delete", "multi_input"];
const SECONDS_MAX: f64 = 60.0;
const PAUSE: Duration = Duration::from_millis(200);

pub fn has(name: &str) -> bool {
    ALL.contains(&name)
}

pub fn list() -> Vec<Tool> {
    let schema = json!({ "type": "object", "properties": {
        "name": { "type": "string" }, "seconds": { "type": "number" },
        "label": { "type": "string" }, "filename": { "type": "string" },
    }});
    ALL.iter().map(|name| Tool::new(*name, "tasks fixture", object(schema.clone()))).collect()
}

pub async fn call(name: &str, fixture: Fixture<'_>) -> Answer {
    let has_tasks = fixture.cx.client_capabilities().is_some_and(|can| can.supports_tasks());
    if !has_tasks && NEED_TASKS.contains(&name) {
        let needed = ClientCapabilities::builder().enable_tasks().build();
        return Err(ErrorData::missing_required_client_capability(needed));
    }
    let or = |text: String, default: &str| if text.is_empty() { default.to_owned() } else { text };
    let tasks = &fixture.fixtures.tasks;
    let task = match name {
        "greet" => return Ok(text(format!("Hello, {}!", or(fixture.text("name"), "world"))).into()),
        "slow_compute" => {
            let work = compute(&fixture, or(fixture.text("label"), "compute"));
            if !has_tasks {
                return Ok(work.await.into());
            }
            tasks.spawn(TaskOptions::default(), move |task| {
                Box::pin(async move {
                    tokio::select! {
                        result = work => Ok(result),
                        () = task.cancelled() => Err(TaskExit::Cancelled),
                    }
                })
            })
        }
        "failing_job" => tasks.spawn(TaskOptions::default(), |_| {
            Box::pin(async {
                tokio::time::sleep(5 * PAUSE).await;
                Ok(failure("intentional tool error"))
            })
        }),
        "protocol_error_job" => {
            if !has_tasks {
                return Err(ErrorData::internal_error("intentional", None));
            }
            tasks.spawn(TaskOptions::default(), |_| {
                Box::pin(async {
                    tokio::time::sleep(PAUSE).await;
                    Err(TaskExit::Error(ErrorData::internal_error("intentional", None)))
                })
            })
        }
        "confirm_delete" => {
            let question = format!("Delete {}?", or(fixture.text("filename"), "file.txt"));
            tasks.spawn(TaskOptions::default(), move |task| {
                Box::pin(async move {
                    let request = elicitation(&question, "confirm", "boolean");
                    let answer = task.request_input("confirm", request).await?;
                    Ok(text(format!("confirmed={}", answer["content"]["confirm"])))
                })
            })
        }
        "multi_input" => tasks.spawn(TaskOptions::default(), |task| {
            Box::pin(async move {
                let (a, b) = tokio::join!(
                    task.request_input("input-a", elicitation("A?", "value", "string")),
                    task.request_input("input-b", elicitation("B?", "value", "string")),
                );
                Ok(text(format!("a={} b={}", a?["content"]["value"], b?["content"]["value"])))
            })
        }),
        _ => {
            let Some(answer) = fixture.answered("user_name") else {
                return need("user_name", elicitation("What is your name?", "name", "string"));
            };
            let name = answer["content"]["name"].as_str().unwrap_or("friend").to_owned();
            tasks.spawn(TaskOptions::default(), move |_| {
                Box::pin(async move {
                    tokio::time::sleep(PAUSE).await;
                    Ok(text(format!("Hello, {name}! (async)")))
                })
            })
        }
    };
    Ok(CreateTaskResult::new(task).into())
}

fn compute(fixture: &Fixture<'_>, label: String) -> impl Future<Output = CallToolResult> + Send + use<> {
    let seconds = fixture.arguments.get("seconds").and_then(Value::as_f64).unwrap_or(1.0).clamp(0.0, SECONDS_MAX);
    async move {
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        text(format!("{label} done"))
    }
}
