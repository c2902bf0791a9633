//! What leaves no row of its own in the audit chain, counted and written once a minute: reads, and calls turned away.
//!
//! A committed row before every read would make each of them wait for the disk, and the
//! replica carry them all; a row for every malformed call would let a flood fill the chain.
//! A count says who did what, how often and when.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::clock::Timestamp;
use crate::error::Code;
use crate::store::audit::Record;

#[derive(Default)]
pub struct Reads(Mutex<HashMap<Key, i64>>);

#[derive(PartialEq, Eq, Hash)]
struct Key {
    principal: String,
    door: &'static str,
    tool: &'static str,
    phase: &'static str,
    decision: &'static str,
}

impl Reads {
    /// A read that was answered.
    pub fn count(&self, principal: &str, door: &'static str, tool: &'static str) {
        self.add(Key { principal: principal.to_owned(), door, tool, phase: "reads", decision: "ok" });
    }

    /// A call that ended before its first row: too often, not to be decoded, or a read that failed.
    pub fn count_refused(&self, principal: &str, door: &'static str, tool: &'static str, code: Code) {
        self.add(Key { principal: principal.to_owned(), door, tool, phase: "refused", decision: code.word() });
    }

    fn add(&self, key: Key) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_insert(0) += 1;
    }

    /// What has been counted since the last time, as rows for the chain.
    pub fn take(&self, now: Timestamp) -> Vec<Record> {
        let counts = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let row = |(key, count): (Key, i64)| Record {
            at: now,
            principal: key.principal,
            door: key.door.to_owned(),
            tool: key.tool.to_owned(),
            phase: key.phase,
            decision: key.decision.to_owned(),
            count: Some(count),
            ..Record::default()
        };
        counts.into_iter().map(row).collect()
    }
}
