//! `[access]`: who may do what, as far as the file says it.

use std::collections::BTreeMap;

use super::suggest;
use super::table::{Item, Section};

/// The levels that callers get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Of callers from this machine without a token
    pub loopback_level: Level,
    /// Of tailnet callers whom no rule and no grant names
    pub default_level: Level,
    /// The tailnet capability whose grants are honoured
    pub capability: String,
    /// The first that names the caller holds
    pub rules: Vec<Rule>,
    pub self_confirm: Vec<SelfConfirm>,
}

/// From 0, refused, over 1, monitor, to 4, manage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(u8);

/// One `[[access.rule]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub who: Who,
    pub level: Level,
    /// All of them, if none are named
    pub toolsets: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// A login name of the tailnet, such as `ann@example.org`
    Login(String),
    /// A tag of a machine, such as `tag:ci`
    Tag(String),
}

/// One `[[access.self_confirm]]`: destructive tools that a caller confirms alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelfConfirm {
    pub caller: String,
    pub tools: Vec<String>,
}

pub(super) const KEYS: &[&str] = &["loopback_level", "default_level", "capability", "rule", "self_confirm"];
const RULE_KEYS: &[&str] = &["login", "tag", "level", "toolsets"];
const SELF_CONFIRM_KEYS: &[&str] = &["caller", "tools"];

impl Level {
    pub const REFUSED: Level = Level(0);
    pub const MONITOR: Level = Level(1);
    pub const MANAGE: Level = Level(4);

    pub const fn number(self) -> u8 {
        self.0
    }
}

impl Default for Access {
    fn default() -> Access {
        Access {
            loopback_level: Level::MONITOR,
            default_level: Level::REFUSED,
            capability: "hearth.home.arpa/cap/hearth".to_owned(),
            rules: Vec::new(),
            self_confirm: Vec::new(),
        }
    }
}

impl Access {
    pub(super) fn read(section: &Section<'_>, toolsets: &[&str]) -> Access {
        let default = Access::default();
        Access {
            loopback_level: section.get("loopback_level").and_then(level).unwrap_or(default.loopback_level),
            default_level: section.get("default_level").and_then(level).unwrap_or(default.default_level),
            capability: section.get("capability").and_then(capability).unwrap_or(default.capability),
            rules: rules(section, toolsets),
            self_confirm: section
                .tables("self_confirm", SELF_CONFIRM_KEYS)
                .iter()
                .filter_map(|section| self_confirm(section, toolsets))
                .collect(),
        }
    }
}

fn level(item: Item<'_>) -> Option<Level> {
    item.integer(0..=Level::MANAGE.0.into()).map(Level)
}

fn capability(item: Item<'_>) -> Option<String> {
    let text = item.word()?;
    let is_whole = text.split_once('/').is_some_and(|(domain, name)| {
        domain.contains('.') && !name.is_empty() && !text.contains(char::is_whitespace) && !text.contains("://")
    });
    if !is_whole {
        item.wrong(format_args!(
            "must be a domain and a name such as \"example.org/cap/hearth\", not {}",
            item.shown()
        ));
        return None;
    }
    Some(text.to_owned())
}

fn rules(section: &Section<'_>, toolsets: &[&str]) -> Vec<Rule> {
    let mut seen: BTreeMap<Who, usize> = BTreeMap::new();
    let mut rules = Vec::new();
    for (index, section) in section.tables("rule", RULE_KEYS).iter().enumerate() {
        let Some(rule) = rule(section, toolsets) else {
            continue;
        };
        if let Some(first) = seen.get(&rule.who) {
            section.wrong(format_args!("names whom `access.rule[{first}]` names already; keep one of them"));
        } else {
            seen.insert(rule.who.clone(), index);
        }
        rules.push(rule);
    }
    rules
}

fn rule(section: &Section<'_>, toolsets: &[&str]) -> Option<Rule> {
    let level = section.required("level", "`level = 1` (monitor) to 4 (manage), or 0 to refuse").and_then(level);
    let chosen = section.get("toolsets").map(|item| toolset_names(&item, toolsets));
    let who = match (section.get("login"), section.get("tag")) {
        (Some(login), None) => Who::Login(login_name(&login)?),
        (None, Some(tag)) => Who::Tag(tag_name(&tag)?),
        (Some(_), Some(_)) => {
            section.wrong("has both `login` and `tag`; write two rules");
            return None;
        }
        (None, None) => {
            section.wrong("names nobody; write `login = \"ann@example.org\"` or `tag = \"tag:ci\"`");
            return None;
        }
    };
    Some(Rule { who, level: level?, toolsets: chosen })
}

fn login_name(item: &Item<'_>) -> Option<String> {
    let text = item.word()?;
    if text.contains(['*', ' ']) {
        item.wrong(format_args!("must be one login such as \"ann@example.org\", not {}", item.shown()));
        return None;
    }
    if text.starts_with("tag:") {
        item.wrong(format_args!("is a tag; write `tag = {}`", item.shown()));
        return None;
    }
    Some(text.to_owned())
}

fn tag_name(item: &Item<'_>) -> Option<String> {
    let text = item.word()?;
    let name = text.strip_prefix("tag:").unwrap_or_default();
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if name.is_empty() || !is_plain {
        item.wrong(format_args!("must be a tag such as \"tag:ci\", not {}", item.shown()));
        return None;
    }
    Some(text.to_owned())
}

fn toolset_names(item: &Item<'_>, toolsets: &[&str]) -> Vec<String> {
    let items = item.items();
    if items.is_empty() && item.is_list() {
        item.wrong("is empty; leave it out for all toolsets, or use `level = 0` to refuse");
    }
    let known = |item: &Item<'_>| {
        let text = item.text()?;
        if !toolsets.contains(&text) {
            item.wrong(format_args!("is no toolset: {}{}", item.shown(), suggest::hint(text, toolsets)));
            return None;
        }
        Some(text.to_owned())
    };
    items.iter().filter_map(known).collect()
}

fn self_confirm(section: &Section<'_>, toolsets: &[&str]) -> Option<SelfConfirm> {
    let caller = section.required("caller", "`caller = \"…\"`, as `system_whoami` names the principal");
    let tools = section.required("tools", "`tools = [\"inventory_remove_host\"]`");
    let caller = caller.and_then(|item| item.word());
    let tools = tools?;
    let items = tools.items();
    if items.is_empty() && tools.is_list() {
        tools.wrong("is empty; name the tools, or leave the whole entry out");
    }
    let tools = items.iter().filter_map(|item| tool_name(item, toolsets)).collect();
    Some(SelfConfirm { caller: caller?.to_owned(), tools })
}

fn tool_name(item: &Item<'_>, toolsets: &[&str]) -> Option<String> {
    let text = item.text()?;
    let is_of =
        |toolset: &&str| text.strip_prefix(*toolset).is_some_and(|rest| 1 < rest.len() && rest.starts_with('_'));
    let is_plain = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if !is_plain || !toolsets.iter().any(is_of) {
        item.wrong(format_args!(
            "must be the whole name of a tool such as \"inventory_remove_host\", not {}; toolsets: {}",
            item.shown(),
            toolsets.join(", ")
        ));
        return None;
    }
    Some(text.to_owned())
}
