//! Who the caller is, and which rule says what it may.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::{Context, Level};
use crate::error::Result;
use crate::registry::{Effect, Entry, Tool};

/// Say who you are to hearth, what you may, and by which rule
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WhoAmI {}

#[derive(Serialize, JsonSchema)]
pub struct Me {
    principal: String,
    level: Level,
    level_name: String,
    toolsets: Vec<String>,
    rule: String,
    door: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
}

impl Tool for WhoAmI {
    const NAME: &'static str = "system_whoami";
    const LEVEL: Level = Level::Monitor;
    const EFFECT: Effect = Effect::Read;
    const ROUTE: &'static str = "GET /api/system/whoami";
    type Output = Me;

    async fn run(self, cx: &Context) -> Result<Me> {
        let caller = &cx.caller;
        // Toolsets of which the caller would see nothing are not its own.
        let is_open = |entries: &[Entry]| caller.is_person() || entries.iter().any(|entry| !entry.person_only);
        let all = crate::tools::TOOLSETS.iter().filter(|(_, entries)| is_open(entries)).map(|(name, _)| *name);
        Ok(Me {
            principal: caller.principal.clone(),
            level: caller.level,
            level_name: caller.level.name().to_owned(),
            toolsets: all.filter(|name| caller.may(name)).map(str::to_owned).collect(),
            rule: caller.rule.clone(),
            door: caller.door.word().to_owned(),
            client: caller.client.clone(),
        })
    }
}
