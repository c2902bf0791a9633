//! The error a caller sees: a situation, a sentence, and what to do next.
//!
//! The source is for the log; it is never part of the message. One table
//! turns a [`Code`] into an HTTP status, an MCP form and an exit status.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::redact::Secrets;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What happened, as coarsely as a program would handle it differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    InvalidInput,
    Unauthenticated,
    Forbidden,
    NotFound,
    Conflict,
    Unconfirmed,
    TooLarge,
    RateLimited,
    Timeout,
    Unreachable,
    Refused,
    Unconfigured,
    Sealed,
    Unavailable,
    Integrity,
    Internal,
}

impl Code {
    pub const ALL: [Code; 16] = [
        Code::InvalidInput,
        Code::Unauthenticated,
        Code::Forbidden,
        Code::NotFound,
        Code::Conflict,
        Code::Unconfirmed,
        Code::TooLarge,
        Code::RateLimited,
        Code::Timeout,
        Code::Unreachable,
        Code::Refused,
        Code::Unconfigured,
        Code::Sealed,
        Code::Unavailable,
        Code::Integrity,
        Code::Internal,
    ];

    /// The word on the wire.
    pub const fn word(self) -> &'static str {
        self.row().0
    }

    pub const fn http_status(self) -> u16 {
        self.row().1
    }

    /// The exit status of the command line, after sysexits(3).
    pub const fn exit_status(self) -> u8 {
        self.row().2
    }

    /// Whether MCP answers with a protocol error rather than a tool result.
    pub const fn is_protocol_error(self) -> bool {
        matches!(self, Code::Unavailable | Code::Internal)
    }

    /// What a code with that word is; for answers that came over a wire.
    pub fn from_word(word: &str) -> Option<Code> {
        Code::ALL.into_iter().find(|code| code.word() == word)
    }

    const fn row(self) -> (&'static str, u16, u8) {
        match self {
            Code::InvalidInput => ("invalid_input", 400, 64),
            Code::Unauthenticated => ("unauthenticated", 401, 77),
            Code::Forbidden => ("forbidden", 403, 77),
            Code::NotFound => ("not_found", 404, 66),
            Code::Conflict => ("conflict", 409, 73),
            Code::Unconfirmed => ("unconfirmed", 428, 75),
            Code::TooLarge => ("too_large", 413, 65),
            Code::RateLimited => ("rate_limited", 429, 75),
            Code::Timeout => ("timeout", 504, 75),
            Code::Unreachable => ("unreachable", 502, 69),
            Code::Refused => ("refused", 502, 76),
            Code::Unconfigured => ("unconfigured", 424, 78),
            Code::Sealed => ("sealed", 423, 69),
            Code::Unavailable => ("unavailable", 503, 69),
            Code::Integrity => ("integrity", 500, 65),
            Code::Internal => ("internal", 500, 70),
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A failed operation: what the caller reads, and below it what the log reads.
#[derive(Debug)]
pub struct Error {
    pub code: Code,
    pub message: String,
    detail: Box<Detail>,
}

#[derive(Debug, Default)]
struct Detail {
    hint: Option<String>,
    field: Option<String>,
    retry_after: Option<Duration>,
    approval: Option<(String, Value)>,
    call_id: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub fn new(code: Code, message: impl fmt::Display) -> Error {
        Error { code, message: message.to_string(), detail: Box::default() }
    }

    pub fn not_found(message: impl fmt::Display) -> Error {
        Error::new(Code::NotFound, message)
    }

    pub fn conflict(message: impl fmt::Display) -> Error {
        Error::new(Code::Conflict, message)
    }

    pub fn forbidden(message: impl fmt::Display) -> Error {
        Error::new(Code::Forbidden, message)
    }

    /// A field of the input that does not hold; `field` is its path.
    pub fn invalid(field: impl Into<String>, message: impl fmt::Display) -> Error {
        let field = field.into();
        let mut error = Error::new(Code::InvalidInput, format_args!("`{field}`: {message}"));
        error.detail.field = Some(field);
        error
    }

    /// A bug or a broken part of the machine; the caller sees the call id only.
    pub fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::new(Code::Internal, "internal error; the log has the details under this call id").with_source(source)
    }

    pub fn unavailable(message: impl fmt::Display) -> Error {
        Error::new(Code::Unavailable, message)
    }

    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        self.detail.source = Some(source.into());
        self
    }

    /// What the caller can do next.
    pub fn with_hint(mut self, hint: impl fmt::Display) -> Error {
        self.detail.hint = Some(hint.to_string());
        self
    }

    pub fn with_retry_after(mut self, wait: Duration) -> Error {
        self.detail.retry_after = Some(wait);
        self
    }

    pub fn with_approval(mut self, approval_id: String, plan: Value) -> Error {
        self.detail.approval = Some((approval_id, plan));
        self
    }

    pub fn with_call_id(mut self, call_id: &str) -> Error {
        self.detail.call_id = Some(call_id.to_owned());
        self
    }

    /// Without secrets in any text that leaves; the source stays as it is, for the log.
    pub fn cleaned(mut self, secrets: &Secrets) -> Error {
        let clean = |text: &mut String| {
            if let Cow::Owned(clean) = secrets.clean(text) {
                *text = clean;
            }
        };
        clean(&mut self.message);
        self.detail.hint.as_mut().map(clean);
        self.detail.field.as_mut().map(clean);
        if let Some((_, plan)) = &mut self.detail.approval {
            secrets.clean_value(plan);
        }
        self
    }

    pub fn hint(&self) -> Option<&str> {
        self.detail.hint.as_deref()
    }

    pub fn field(&self) -> Option<&str> {
        self.detail.field.as_deref()
    }

    pub fn approval(&self) -> Option<(&str, &Value)> {
        self.detail.approval.as_ref().map(|(id, plan)| (id.as_str(), plan))
    }

    pub fn retry_after(&self) -> Option<Duration> {
        self.detail.retry_after
    }

    /// What goes over the wire, on every door.
    pub fn body(&self) -> Body {
        let detail = &self.detail;
        Body {
            code: self.code,
            message: self.message.clone(),
            hint: detail.hint.clone(),
            field: detail.field.clone(),
            call_id: detail.call_id.clone(),
            retry_after_s: detail.retry_after.map(|wait| wait.as_secs_f64().ceil() as u64),
            approval_id: detail.approval.as_ref().map(|(id, _)| id.clone()),
            plan: detail.approval.as_ref().map(|(_, plan)| plan.clone()),
        }
    }

    /// The chain of causes, outermost first, for the log.
    pub fn chain(&self) -> String {
        let mut text = String::new();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.detail.source.as_deref().map(|source| source as _)
    }
}

impl From<Body> for Error {
    fn from(body: Body) -> Error {
        let mut error = Error::new(body.code, body.message);
        error.detail.hint = body.hint;
        error.detail.field = body.field;
        error.detail.call_id = body.call_id;
        error.detail.retry_after = body.retry_after_s.map(Duration::from_secs);
        error.detail.approval = body.approval_id.map(|id| (id, body.plan.unwrap_or(Value::Null)));
        error
    }
}

/// An error as JSON: over MCP the structured content, over REST the members of a problem document.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Body {
    /// What kind of failure it is
    pub code: Code,
    /// What happened, to what
    pub message: String,
    /// What to do next
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The path of the input field at fault
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The call, as the log and the audit chain name it
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
    /// Seconds to wait before trying again
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
    /// The approval that a person has to give before the call is repeated with it
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_id: Option<String>,
    /// What the call would do once approved
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_unique_and_found_again() {
        for code in Code::ALL {
            assert_eq!(Code::from_word(code.word()), Some(code));
            assert_eq!(serde_json::to_value(code).unwrap(), code.word());
        }
    }

    #[test]
    fn the_source_is_for_the_log_only() {
        let error = Error::internal(std::io::Error::other("disk on fire"));
        assert!(!serde_json::to_string(&error.body()).unwrap().contains("fire"));
        assert_eq!(error.chain(), "disk on fire");
    }
}
