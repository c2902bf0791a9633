//! Who calls: the identity, what it may, and the door that it came through.

use crate::level::Level;

/// The way into the appliance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Door {
    Mcp,
    Rest,
    Cli,
}

impl Door {
    pub const fn word(self) -> &'static str {
        match self {
            Door::Mcp => "mcp",
            Door::Rest => "rest",
            Door::Cli => "cli",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Caller {
    /// `owner`, `loopback` or `token:NAME`: what the audit chain and the forum name.
    pub principal: String,
    pub level: Level,
    /// `None` for all.
    pub toolsets: Option<Vec<String>>,
    /// Which rule gave the level, in words.
    pub rule: String,
    pub door: Door,
    /// What the client calls itself; nobody has checked it.
    pub client: Option<String>,
}

impl Caller {
    /// The owner of the data folder, who came in through its unix socket.
    pub fn owner(door: Door) -> Caller {
        Caller {
            principal: "owner".to_owned(),
            level: Level::Manage,
            toolsets: None,
            rule: "owner of the data folder".to_owned(),
            door,
            client: None,
        }
    }

    /// Whether a person stands behind the call: the owner at the command line. An agent that
    /// speaks MCP as the owner is not one, since it could approve its own plans.
    pub fn is_person(&self) -> bool {
        self.door == Door::Cli && self.principal == "owner"
    }

    pub fn may(&self, toolset: &str) -> bool {
        self.toolsets.as_ref().is_none_or(|all| all.iter().any(|name| name == toolset))
    }

    /// The same caller, shown no more than `toolsets`.
    pub fn narrowed(&self, toolsets: &[String]) -> Caller {
        let kept = toolsets.iter().filter(|name| self.may(name)).cloned().collect();
        Caller { toolsets: Some(kept), ..self.clone() }
    }
}
