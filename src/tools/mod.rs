//! The toolsets, in reading order.

mod audit;
mod inventory;
mod forum;
mod system;
mod token;

use crate::registry::Toolset;

pub const TOOLSETS: &[Toolset] =
    &[("inventory", inventory::TOOLS), ("audit", audit::TOOLS), ("system", system::TOOLS), ("token", token::TOOLS)];
    &[("forum", forum::TOOLS), ("audit", audit::TOOLS), ("system", system::TOOLS), ("token", token::TOOLS)];
