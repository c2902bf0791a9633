//! The toolsets, in reading order.

mod audit;
mod credential;
mod forum;
mod inventory;
mod key;
mod system;
mod token;

use crate::registry::Toolset;

pub const TOOLSETS: &[Toolset] = &[
    ("forum", forum::TOOLS),
    ("inventory", inventory::TOOLS),
    ("credential", credential::TOOLS),
    ("audit", audit::TOOLS),
    ("system", system::TOOLS),
    ("token", token::TOOLS),
    ("key", key::TOOLS),
];
