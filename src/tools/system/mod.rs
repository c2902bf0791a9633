//! hearth itself: this machine, its health, who the caller is, and what waits for a person.

mod approvals;
mod health;
mod info;
mod whoami;

use crate::registry::Entry;

pub const TOOLS: &[Entry] = &[
    Entry::of::<whoami::WhoAmI>(),
    Entry::of::<info::Info>(),
    Entry::of::<health::Health>(),
    Entry::of::<approvals::ListApprovals>(),
    Entry::of::<approvals::Approve>(),
    Entry::of::<approvals::Reject>(),
];
