//! What went wrong between the appliance and a service: one error for all adapters.

use std::fmt;
use std::time::Duration;

use crate::error::{self, Code};

pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// A failed exchange with `target`, which is a `service` such as "plex".
#[derive(Debug, thiserror::Error)]
#[error("{service} at {target}: {kind}")]
pub struct Error {
    pub service: &'static str,
    pub target: String,
    pub kind: Kind,
    #[source]
    source: Option<Source>,
}

/// What happened, as coarsely as a caller would handle it differently.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Kind {
    #[error("does not answer")]
    Unreachable,
    #[error("did not answer within {} ms", .after.as_millis())]
    Timeout { after: Duration },
    #[error("does not accept the credential")]
    Unauthorized,
    #[error("has no {what}")]
    NotFound { what: String },
    /// The service understood and said no, for the reason given.
    #[error("refused: {reason}")]
    Refused { reason: String },
    /// The answer is not what this kind of service sends.
    #[error("unexpected answer: {problem}")]
    Malformed { problem: String },
    #[error("allows no more requests for now")]
    Limited { retry_after: Option<Duration> },
    #[error("{missing} is not configured")]
    Unconfigured { missing: &'static str },
}

impl Error {
    pub fn new(service: &'static str, target: impl fmt::Display, kind: Kind) -> Error {
        Error { service, target: target.to_string(), kind, source: None }
    }

    pub fn with_source(mut self, source: impl Into<Source>) -> Error {
        self.source = Some(source.into());
        self
    }
}

impl Kind {
    pub fn code(&self) -> Code {
        match self {
            Kind::Unreachable => Code::Unreachable,
            Kind::Timeout { .. } => Code::Timeout,
            Kind::Unauthorized | Kind::Refused { .. } | Kind::Malformed { .. } => Code::Refused,
            Kind::NotFound { .. } => Code::NotFound,
            Kind::Limited { .. } => Code::RateLimited,
            Kind::Unconfigured { .. } => Code::Unconfigured,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Kind::Unreachable => Some("check that the service runs and that its address is right"),
            Kind::Unauthorized => Some("renew the credential that is stored for this service"),
            Kind::Unconfigured { .. } => Some("store what is missing, then call again"),
            _ => None,
        }
    }
}

impl From<Error> for error::Error {
    fn from(error: Error) -> error::Error {
        let mut public = error::Error::new(error.kind.code(), &error);
        if let Some(hint) = error.kind.hint() {
            public = public.with_hint(hint);
        }
        if let Kind::Limited { retry_after: Some(wait) } = error.kind {
            public = public.with_retry_after(wait);
        }
        match error.source {
            Some(source) => public.with_source(source),
            None => public,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_error_names_the_service_and_keeps_the_cause_for_the_log() {
        let error = Error::new("plex", "nas", Kind::Unreachable).with_source(std::io::Error::other("no route"));
        let public = error::Error::from(error);
        assert_eq!(public.code, Code::Unreachable);
        assert_eq!(public.message, "plex at nas: does not answer");
        assert_eq!(public.chain(), "no route");
    }

    #[test]
    fn a_limit_passes_on_how_long_to_wait() {
        let kind = Kind::Limited { retry_after: Some(Duration::from_secs(7)) };
        assert_eq!(error::Error::from(Error::new("gotify", "push", kind)).body().retry_after_s, Some(7));
    }
}
