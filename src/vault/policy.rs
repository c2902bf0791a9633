//! What a credential is for: which kind it is, for what target, for which uses, shown to whom.
//!
//! The policy lies beside the sealed secret in the clear and its hash is part of what the seal
//! binds, so a policy that was edited in the file opens nothing.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::level::Level;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Password,
    SshKey,
    ApiKey,
    Token,
    UsernamePassword,
    File,
}

/// What a credential may be taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Use {
    HttpBasic,
    HttpBearer,
    HttpHeader,
    Ssh,
    Api,
    Reveal,
}

/// The conditions that a seal binds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    pub kind: Kind,
    /// `host:NAME`, `vm:NAME` or `service:NAME`; without one it can only be shown
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Sorted, each once
    pub uses: Vec<Use>,
    /// Who the other side must prove to be, one of them: an origin `https://nas.lan:443` or a host key `SHA256:…`. Sorted
    pub pins: Vec<String>,
    /// The least level of a caller on whose behalf it is used
    pub level: Level,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The header that carries it, for [`Use::HttpHeader`]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
}

impl Kind {
    pub const fn word(self) -> &'static str {
        match self {
            Kind::Password => "password",
            Kind::SshKey => "ssh_key",
            Kind::ApiKey => "api_key",
            Kind::Token => "token",
            Kind::UsernamePassword => "username_password",
            Kind::File => "file",
        }
    }

    /// What a credential of this kind is taken for, unless it is said.
    pub const fn usual_uses(self) -> &'static [Use] {
        match self {
            Kind::Password => &[Use::Ssh, Use::Api, Use::Reveal],
            // A key that was made here has no reason to leave.
            Kind::SshKey => &[Use::Ssh],
            Kind::ApiKey => &[Use::HttpBearer, Use::Api, Use::Reveal],
            Kind::Token => &[Use::HttpBearer, Use::Api, Use::Reveal],
            Kind::UsernamePassword => &[Use::HttpBasic, Use::Ssh, Use::Api, Use::Reveal],
            Kind::File => &[Use::Api, Use::Reveal],
        }
    }
}

impl Use {
    pub const ALL: [Use; 6] = [Use::HttpBasic, Use::HttpBearer, Use::HttpHeader, Use::Ssh, Use::Api, Use::Reveal];

    pub const fn word(self) -> &'static str {
        match self {
            Use::HttpBasic => "http_basic",
            Use::HttpBearer => "http_bearer",
            Use::HttpHeader => "http_header",
            Use::Ssh => "ssh",
            Use::Api => "api",
            Use::Reveal => "reveal",
        }
    }

    /// Whether the secret goes over HTTP, to the origin that the policy pins.
    pub const fn is_http(self) -> bool {
        matches!(self, Use::HttpBasic | Use::HttpBearer | Use::HttpHeader)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Policy {
    /// BLAKE3 over every field behind its length, so that no two policies read alike.
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"hearth/policy/v1");
        let mut list = |items: &[&str]| {
            hasher.update(&(items.len() as u64).to_be_bytes());
            for item in items {
                hasher.update(&(item.len() as u64).to_be_bytes()).update(item.as_bytes());
            }
        };
        list(&[self.kind.word()]);
        list(&self.target.iter().map(String::as_str).collect::<Vec<_>>());
        list(&self.uses.iter().map(|usage| usage.word()).collect::<Vec<_>>());
        list(&self.pins.iter().map(String::as_str).collect::<Vec<_>>());
        list(&[self.level.name()]);
        list(&self.username.iter().map(String::as_str).collect::<Vec<_>>());
        list(&self.header.iter().map(String::as_str).collect::<Vec<_>>());
        *hasher.finalize().as_bytes()
    }

    pub fn allows(&self, usage: Use) -> bool {
        self.uses.contains(&usage)
    }

    /// Whether nothing is allowed by this one that `other` does not allow.
    pub fn is_within(&self, other: &Policy) -> bool {
        let pins = if other.pins.is_empty() {
            true
        } else {
            !self.pins.is_empty() && self.pins.iter().all(|pin| other.pins.contains(pin))
        };
        self.kind == other.kind
            && (self.target == other.target || self.target.is_none())
            && self.uses.iter().all(|usage| other.allows(*usage))
            && pins
            && other.level <= self.level
            && self.username == other.username
            && self.header == other.header
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy {
            kind: Kind::UsernamePassword,
            target: Some("service:plex".to_owned()),
            uses: vec![Use::HttpBasic, Use::Reveal],
            pins: vec!["https://plex.lan:443".to_owned()],
            level: Level::Operate,
            username: Some("admin".to_owned()),
            header: None,
        }
    }

    #[test]
    fn every_field_counts() {
        type Edit = fn(&mut Policy);
        let edits: [Edit; 8] = [
            |policy| policy.kind = Kind::Password,
            |policy| policy.target = Some("service:evil".to_owned()),
            |policy| policy.target = None,
            |policy| policy.uses = vec![Use::HttpBasic],
            |policy| policy.pins.push("https://evil.lan:443".to_owned()),
            |policy| policy.level = Level::Monitor,
            |policy| policy.username = None,
            // The same text in another field.
            |policy| policy.header = policy.username.take(),
        ];
        let mut seen = vec![policy().digest()];
        for edit in edits {
            let mut edited = policy();
            edit(&mut edited);
            seen.push(edited.digest());
        }
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count);
    }

    #[test]
    fn narrower_is_within_and_wider_is_not() {
        let narrow: [fn(&mut Policy); 3] =
            [|policy| policy.uses = vec![Use::HttpBasic], |policy| policy.level = Level::Manage, |_| {}];
        for edit in narrow {
            let mut edited = policy();
            edit(&mut edited);
            assert!(edited.is_within(&policy()));
        }
        let wide: [fn(&mut Policy); 6] = [
            |policy| policy.uses.push(Use::Ssh),
            |policy| policy.pins.clear(),
            |policy| policy.pins.push("https://evil.lan:443".to_owned()),
            |policy| policy.target = Some("service:evil".to_owned()),
            |policy| policy.level = Level::Monitor,
            |policy| policy.username = Some("root".to_owned()),
        ];
        for edit in wide {
            let mut edited = policy();
            edit(&mut edited);
            assert!(!edited.is_within(&policy()));
        }
    }
}
