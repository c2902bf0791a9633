//! Completions of names, from the lists that the caller may read.

use std::sync::Arc;

use rmcp::ErrorData;
use rmcp::model::{CompleteRequestParams, CompleteResult, CompletionInfo, Reference};

use super::handler::protocol_error;
use super::resources::{self, Kind};
use super::{Shared, conformance, prompts};
use crate::app::Caller;

/// Pages that are looked through for names.
const PAGES: usize = 10;

pub async fn complete(
    shared: &Arc<Shared>,
    caller: &Arc<Caller>,
    request: &CompleteRequestParams,
) -> Result<CompleteResult, ErrorData> {
    let argument = request.argument.name.as_str();
    let typed = request.argument.value.to_ascii_lowercase();
    let (candidates, is_all) = match &request.r#ref {
        Reference::Prompt(prompt) if (prompt.name.as_str(), argument) == (prompts::TRIAGE, "host") => {
            names(shared, caller, Kind::of("host"), &typed).await?
        }
        Reference::Prompt(prompt) if (prompt.name.as_str(), argument) == (prompts::TRIAGE, "focus") => {
            (prompts::FOCI.iter().map(|&focus| focus.to_owned()).collect(), true)
        }
        Reference::Prompt(prompt) if shared.fixtures.is_some() => (conformance::complete(&prompt.name, argument), true),
        Reference::Resource(template) => {
            let kind = resources::KINDS.iter().find(|kind| kind.template() == template.uri && kind.key == argument);
            names(shared, caller, kind, &typed).await?
        }
        _ => (Vec::new(), true),
    };
    let matching: Vec<String> =
        candidates.into_iter().filter(|name| name.to_ascii_lowercase().starts_with(&typed)).collect();
    let total = matching.len();
    let values: Vec<String> = matching.into_iter().take(CompletionInfo::MAX_VALUES).collect();
    let has_more = !is_all || values.len() < total;
    let mut info = CompletionInfo::new(values).map_err(|error| ErrorData::internal_error(error, None))?;
    info.total = if is_all { u32::try_from(total).ok() } else { None };
    info.has_more = Some(has_more);
    Ok(CompleteResult::new(info))
}

/// The names of a kind that begin with what was typed, and whether these are all.
async fn names(
    shared: &Arc<Shared>,
    caller: &Arc<Caller>,
    kind: Option<&'static Kind>,
    typed: &str,
) -> Result<(Vec<String>, bool), ErrorData> {
    let Some(kind) = kind.filter(|kind| resources::is_offered(shared, caller, kind.list)) else {
        return Ok((Vec::new(), true));
    };
    let (mut names, mut cursor) = (Vec::new(), None);
    for _ in 0..PAGES {
        let page = resources::page(shared, caller, kind, cursor.take()).await;
        let (items, next) = page.map_err(|error| protocol_error(&error))?;
        let keys = items.iter().filter_map(|item| kind.key_of(item));
        names.extend(keys.filter(|name| name.to_ascii_lowercase().starts_with(typed)));
        cursor = next;
        if cursor.is_none() || CompletionInfo::MAX_VALUES < names.len() {
            break;
        }
    }
    Ok((names, cursor.is_none()))
}
