//! Fixed resources, prompts and completions.

use rmcp::ErrorData;
use rmcp::model::{
    CacheScope, ContentBlock, GetPromptRequestParams, GetPromptResponse, GetPromptResult, InputRequests,
    InputRequiredResult, Prompt, PromptArgument, PromptMessage, ReadResourceResult, Resource, ResourceContents,
    ResourceTemplate, Role,
};
use serde_json::{Value, json};

use super::input;

pub const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8/5+hHgAHggJ/PchI7wAAAABJRU5ErkJggg==";
pub const WAV: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEARKwAAIhYAQACABAAZGF0YQAAAAA=";
const CACHE_MS: u64 = 60_000;

pub fn resources() -> Vec<Resource> {
    vec![
        Resource::new("test://static-text", "Static Text").with_mime_type("text/plain"),
        Resource::new("test://static-binary", "Static Binary").with_mime_type("image/png"),
        Resource::new("test://watched-resource", "Watched").with_mime_type("text/plain"),
    ]
}

pub fn template() -> ResourceTemplate {
    ResourceTemplate::new("test://template/{id}/data", "Dynamic Resource").with_mime_type("application/json")
}

pub fn read(uri: &str) -> Option<ReadResourceResult> {
    let contents = match uri {
        "test://static-text" => {
            let text = "This is the content of the static text resource.";
            ResourceContents::text(text, uri).with_mime_type("text/plain")
        }
        "test://watched-resource" => ResourceContents::text("watched", uri).with_mime_type("text/plain"),
        "test://static-binary" => ResourceContents::blob(PNG, uri).with_mime_type("image/png"),
        _ => {
            let id = uri.strip_prefix("test://template/")?.strip_suffix("/data")?;
            let data = json!({ "id": id, "templateTest": true, "data": format!("Data for ID: {id}") });
            ResourceContents::text(data.to_string(), uri).with_mime_type("application/json")
        }
    };
    Some(ReadResourceResult::new(vec![contents]).with_ttl_ms(CACHE_MS).with_cache_scope(CacheScope::Public))
}

pub fn prompts() -> Vec<Prompt> {
    let required = |name: &str| PromptArgument::new(name).with_required(true);
    vec![
        Prompt::new("test_simple_prompt", Some("simple"), None),
        Prompt::new("test_prompt_with_arguments", Some("args"), Some(vec![required("arg1"), required("arg2")])),
        Prompt::new("test_prompt_with_embedded_resource", Some("res"), Some(vec![required("resourceUri")])),
        Prompt::new("test_prompt_with_image", Some("img"), None),
        Prompt::new("test_input_required_result_prompt", Some("MRTR"), None),
    ]
}

pub fn get_prompt(request: &GetPromptRequestParams) -> Option<Result<GetPromptResponse, ErrorData>> {
    let argument = |name: &str| match request.arguments.as_ref().and_then(|all| all.get(name)) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let says = |text: &str| PromptMessage::new_text(Role::User, text);
    let messages = match request.name.as_str() {
        "test_simple_prompt" => vec![says("This is a simple prompt for testing.")],
        "test_prompt_with_arguments" => {
            let (first, second) = (argument("arg1"), argument("arg2"));
            vec![says(&format!("Prompt with arguments: arg1='{first}', arg2='{second}'"))]
        }
        "test_prompt_with_embedded_resource" => {
            let contents = ResourceContents::text("Embedded resource content for testing.", argument("resourceUri"));
            let block = ContentBlock::resource(contents.with_mime_type("text/plain"));
            vec![PromptMessage::new(Role::User, block), says("Please process the embedded resource above.")]
        }
        "test_prompt_with_image" => {
            let image = PromptMessage::new(Role::User, ContentBlock::image(PNG, "image/png"));
            vec![image, says("Please analyze the image above.")]
        }
        "test_input_required_result_prompt" => {
            let is_answered = request.input_responses.as_ref().is_some_and(|all| all.contains_key("user_context"));
            if !is_answered {
                let mut requests = InputRequests::new();
                requests.insert("user_context".into(), input::elicitation("What context?", "context", "string"));
                return Some(Ok(InputRequiredResult::from_input_requests(requests).into()));
            }
            vec![says("with context")]
        }
        _ => return None,
    };
    Some(Ok(GetPromptResult::new(messages).into()))
}

pub fn complete(prompt: &str, argument: &str) -> Vec<String> {
    match (prompt, argument) {
        ("test_prompt_with_arguments", "arg1") => ["paris", "park", "party"].map(str::to_owned).to_vec(),
        _ => Vec::new(),
    }
}
