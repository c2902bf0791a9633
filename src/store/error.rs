//! How a SQLite failure becomes an error of the appliance.

use rusqlite::ErrorCode;

use crate::error::{Code, Error};

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Error {
        match &error {
            rusqlite::Error::QueryReturnedNoRows => Error::not_found("no such row").with_source(error),
            rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
                ErrorCode::OperationInterrupted => {
                    Error::new(Code::Timeout, "the query took longer than a read may").with_source(error)
                }
                ErrorCode::DiskFull => Error::unavailable("the disk is full; nothing was written")
                    .with_hint("free space on the disk of the data folder; hearth goes on by itself")
                    .with_source(error),
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
                    Error::unavailable("another program holds the database; nothing was written").with_source(error)
                }
                ErrorCode::SystemIoFailure
                | ErrorCode::ReadOnly
                | ErrorCode::CannotOpen
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase => {
                    Error::unavailable("the database cannot be written; the log has the reason").with_source(error)
                }
                _ => Error::internal(error),
            },
            _ => Error::internal(error),
        }
    }
}

/// After which the connection is not to be trusted: what a commit did is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The disk may come back: reopen and try again.
    Passing,
    /// The file itself is at fault: a person has to look.
    Lasting,
}

pub(super) fn fault(error: &rusqlite::Error) -> Option<Fault> {
    let rusqlite::Error::SqliteFailure(failure, _) = error else { return None };
    match failure.code {
        ErrorCode::DiskFull | ErrorCode::SystemIoFailure | ErrorCode::CannotOpen => Some(Fault::Passing),
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::ReadOnly => Some(Fault::Lasting),
        _ => None,
    }
}

/// The fault behind a job's error, if SQLite raised one.
pub(super) fn fault_behind(error: &Error) -> Option<Fault> {
    std::error::Error::source(error)?.downcast_ref().and_then(fault)
}
