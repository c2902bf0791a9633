//! Prompts: work that people start by name, with what is known already put in, fenced.

use std::sync::Arc;

use rmcp::model::{
    GetPromptRequestParams, GetPromptResponse, GetPromptResult, JsonObject, ListPromptsResult, Prompt, PromptArgument,
    PromptMessage, Role,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::{Value, json};

use super::handler::{Handler, protocol_error};
use super::{Shared, conformance, resources};
use crate::app::Caller;
use crate::error::{Error, Result};
use crate::registry::{Call, fence};

pub const TRIAGE: &str = "triage_host";
const SUMMARISE: &str = "summarise_forum";
const HAND_OVER: &str = "hand_over";
/// What a triage may look at first.
pub const FOCI: [&str; 5] = ["services", "network", "storage", "load", "updates"];
/// An argument is cut to so many characters.
const ARGUMENT_MAX: usize = 200;
const ITEMS: usize = 50;

/// Each prompt, and the tool without which it says nothing.
const PROMPTS: [(&str, &str); 3] =
    [(TRIAGE, "inventory_get_host"), (SUMMARISE, "forum_list_threads"), (HAND_OVER, "forum_whats_new")];

fn describe(name: &str) -> Prompt {
    let argument = |name: &str, description: &str| PromptArgument::new(name).with_description(description);
    let (title, description, arguments) = match name {
        TRIAGE => (
            "Triage a host",
            "Look at what runs on a host and find what is wrong",
            vec![
                argument("host", "Name of the host").with_required(true),
                argument("focus", "What to look at first: services, network, storage, load or updates"),
            ],
        ),
        SUMMARISE => (
            "Summarise the forum",
            "What was said lately, and what is open",
            vec![argument("since", "Only threads with activity since this time, like 2026-01-31")],
        ),
        _ => (
            "Hand over",
            "Write down the state of the lab for whoever comes next",
            vec![argument("to", "Who takes over")],
        ),
    };
    Prompt::new(name, Some(description), Some(arguments)).with_title(title)
}

pub fn list(shared: &Shared, caller: &Caller) -> ListPromptsResult {
    let offered = PROMPTS.iter().filter(|(_, tool)| resources::is_offered(shared, caller, tool));
    let mut prompts: Vec<Prompt> = offered.map(|(name, _)| describe(name)).collect();
    if shared.fixtures.is_some() {
        prompts.extend(conformance::prompts());
    }
    ListPromptsResult::with_all_items(prompts)
}

pub async fn get(
    handler: &Handler,
    request: GetPromptRequestParams,
    cx: RequestContext<RoleServer>,
) -> Result<GetPromptResponse, ErrorData> {
    if handler.shared.fixtures.is_some()
        && let Some(result) = conformance::get_prompt(&request)
    {
        return result;
    }
    let caller = handler.caller(&cx)?;
    let known = PROMPTS
        .iter()
        .find(|(name, tool)| *name == request.name && resources::is_offered(&handler.shared, &caller, tool));
    let Some((name, _)) = known else {
        return Err(ErrorData::invalid_params(format!("no prompt `{}`", request.name.escape_debug()), None));
    };
    let desk = Desk { shared: &handler.shared, caller: &caller, arguments: request.arguments.unwrap_or_default(), cx };
    let text = match *name {
        TRIAGE => desk.triage().await,
        SUMMARISE => desk.summarise().await,
        _ => desk.hand_over().await,
    };
    let text = text.map_err(|error| protocol_error(&error))?;
    let description = describe(name).description.unwrap_or_default();
    let message = PromptMessage::new_text(Role::User, text);
    Ok(GetPromptResult::new(vec![message]).with_description(description).into())
}

/// Where a prompt is put together.
struct Desk<'a> {
    shared: &'a Arc<Shared>,
    caller: &'a Arc<Caller>,
    arguments: JsonObject,
    cx: RequestContext<RoleServer>,
}

impl Desk<'_> {
    fn argument(&self, name: &str) -> Option<String> {
        let text = match self.arguments.get(name)? {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let text: String = fence::clean(text.trim()).chars().take(ARGUMENT_MAX).collect();
        (!text.is_empty()).then_some(text)
    }

    async fn invoke(&self, tool: &str, input: Value) -> Result<Value> {
        let mut call = Call::new(Arc::clone(self.caller), tool, input);
        call.cancel = self.cx.ct.clone();
        self.shared.registry.invoke(call).await
    }

    /// What a tool says if the caller may ask it; a prompt does without what is not there.
    async fn ask(&self, tool: &str, input: Value) -> Result<Option<Value>> {
        if !resources::is_offered(self.shared, self.caller, tool) {
            return Ok(None);
        }
        self.invoke(tool, input).await.map(Some)
    }

    async fn triage(&self) -> Result<String> {
        let host = self.argument("host").ok_or_else(|| Error::invalid("host", "is missing"))?;
        let focus = self.argument("focus").filter(|focus| FOCI.contains(&focus.as_str()));
        let found = self.invoke("inventory_get_host", json!({ "name": host })).await?;
        let changes = json!({ "kind": "host", "name": host, "limit": 10 });
        let changes = self.ask("inventory_changes", changes).await?;
        let mut text = Text::new("Triage one host of this home lab.");
        text.step("Read what the inventory holds about it below, and what changed there last.");
        text.step("Check each of its services with inventory_check_service_health, if you may.");
        text.step("Search the forum for earlier trouble with it.");
        text.step("Say what is wrong, how sure you are, and what to do next; change nothing without being asked.");
        if let Some(focus) = focus {
            text.line(&format!("Begin with: {focus}."));
        }
        text.quote("The host", &found);
        text.quote_some("Its latest changes", changes.as_ref());
        Ok(text.0)
    }

    async fn summarise(&self) -> Result<String> {
        let since = self.argument("since");
        let since = since.map(|since| since.parse::<crate::clock::Timestamp>()).transpose();
        let since = since.map_err(|error| Error::invalid("since", error))?;
        let mut threads = self.invoke("forum_list_threads", json!({ "limit": ITEMS })).await?;
        if let (Some(since), Some(items)) = (since, threads.get_mut("items").and_then(Value::as_array_mut)) {
            let at = |item: &Value| item.get("last_activity_at")?.as_str()?.parse::<crate::clock::Timestamp>().ok();
            items.retain(|item| at(item).is_none_or(|at| since <= at));
        }
        let mut text = Text::new("Summarise the forum of this home lab.");
        text.step("Read the threads that matter with forum_read_thread.");
        text.step("For each, say in a sentence or two what it is about, what was decided and what is open.");
        text.step("End with a list of what waits for someone, and for whom.");
        if let Some(since) = since {
            text.line(&format!("Only what happened since {since} counts."));
        }
        text.quote("The threads", &threads);
        Ok(text.0)
    }

    async fn hand_over(&self) -> Result<String> {
        let news = self.invoke("forum_whats_new", json!({ "limit": ITEMS })).await?;
        let changes = self.ask("inventory_changes", json!({ "limit": ITEMS })).await?;
        let mut text = Text::new("Write a hand-over for this home lab.");
        text.step("Say what was done, what is half done, and what must not be touched.");
        text.step("Name the threads and the things in the inventory that the next one has to read.");
        text.step("Post it with forum_create_thread, tagged `hand-over`, once it has been agreed to.");
        if let Some(to) = self.argument("to") {
            text.quote("It is for", &Value::from(to));
        }
        text.quote("What is new on the forum", &news);
        text.quote_some("The latest changes of the inventory", changes.as_ref());
        Ok(text.0)
    }
}

/// The text of a prompt: our words, and those of others behind a fence.
struct Text(String);

impl Text {
    fn new(task: &str) -> Text {
        Text(format!("{task}\n"))
    }

    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn step(&mut self, step: &str) {
        self.line(&format!("- {step}"));
    }

    fn quote(&mut self, title: &str, value: &Value) {
        let text = match value {
            Value::String(text) => text.clone(),
            other => serde_json::to_string_pretty(other).unwrap_or_default(),
        };
        self.line(&format!("\n{title}:"));
        self.line(&fence::fenced(&text));
    }

    fn quote_some(&mut self, title: &str, value: Option<&Value>) {
        if let Some(value) = value {
            self.quote(title, value);
        }
    }
}
