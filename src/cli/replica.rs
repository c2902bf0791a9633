//! The replica that a command names, and what its mistakes mean to a person.

use std::sync::Arc;

use super::args::ReplicaPlace;
use crate::error::{Code, Error, Result};
use crate::replica::object::{self, Kind, ObjectStore};
use crate::replica::restore::{self, Head};

/// An opened replica, at the lineage that is to be read.
pub struct Replica {
    pub store: Arc<dyn ObjectStore>,
    pub lineage: Option<String>,
    pub head: Option<Head>,
}

pub async fn open(place: &ReplicaPlace) -> Result<Replica> {
    let store = object::url::open(&place.address).map_err(store_error)?;
    let head = restore::head(&store).await.map_err(restore_error)?;
    let lineage = place.lineage.clone().or_else(|| head.as_ref().map(|head| head.lineage.clone()));
    let is_plain = |lineage: &String| lineage.bytes().all(|byte| byte.is_ascii_alphanumeric()) && !lineage.is_empty();
    if lineage.as_ref().is_some_and(|lineage| !is_plain(lineage)) {
        return Err(Error::invalid("--lineage", "must be letters and digits"));
    }
    let store = lineage.as_ref().map_or(store.clone(), |lineage| store.at(lineage));
    Ok(Replica { store, lineage, head })
}

pub fn store_error(error: object::Error) -> Error {
    let code = match error.kind {
        Kind::NotFound => Code::NotFound,
        Kind::Denied(_) => Code::Forbidden,
        Kind::Skewed | Kind::Refused(_) => Code::Refused,
        Kind::Busy(_) | Kind::Unreachable => Code::Unreachable,
        Kind::Io => Code::Unavailable,
        Kind::Malformed(_) => Code::InvalidInput,
    };
    Error::new(code, &error).with_source(error)
}

pub fn restore_error(error: restore::Error) -> Error {
    use restore::Error as Cause;
    let code = match error {
        Cause::Store(error) => return store_error(error),
        Cause::Plan { .. } | Cause::Deleted { .. } => Code::NotFound,
        Cause::File { .. } | Cause::Misfit { .. } | Cause::PageMissing { .. } | Cause::Unsound(_) => Code::Integrity,
        Cause::Exists { .. } => Code::Conflict,
        Cause::Output { ref source, .. } => {
            let message = format!("{error}: {source}");
            return Error::new(Code::Unavailable, message).with_source(error);
        }
        Cause::Vanishing => Code::Unavailable,
    };
    Error::new(code, &error).with_source(error)
}
