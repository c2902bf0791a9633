//! Reads in the audit chain: counted per caller, door and tool, and written once a minute.
//!
//! A committed row before every read would make each of them wait for the disk, and the
//! replica carry them all; a count says who read what, how often and when.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::clock::Timestamp;
use crate::store::audit::Record;

#[derive(Default)]
pub struct Reads(Mutex<HashMap<(String, &'static str, &'static str), i64>>);

impl Reads {
    pub fn count(&self, principal: &str, door: &'static str, tool: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((principal.to_owned(), door, tool)).or_insert(0) += 1;
    }

    /// What has been counted since the last time, as rows for the chain.
    pub fn take(&self, now: Timestamp) -> Vec<Record> {
        let counts = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let row = |((principal, door, tool), count): ((String, &str, &str), i64)| Record {
            at: now,
            principal,
            door: door.to_owned(),
            tool: tool.to_owned(),
            phase: "reads",
            decision: "ok".to_owned(),
            count: Some(count),
            ..Record::default()
        };
        counts.into_iter().map(row).collect()
    }
}
