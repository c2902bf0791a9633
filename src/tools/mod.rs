//! The toolsets, in reading order.

mod audit;
mod forum;
mod inventory;
mod system;
mod token;

use crate::registry::Toolset;

pub const TOOLSETS: &[Toolset] = &[
    ("forum", forum::TOOLS),
    ("inventory", inventory::TOOLS),
    ("audit", audit::TOOLS),
    ("system", system::TOOLS),
    ("token", token::TOOLS),
];
