//! The toolsets, in reading order.

mod audit;
mod system;
mod token;

use crate::registry::Toolset;

pub const TOOLSETS: &[Toolset] = &[("audit", audit::TOOLS), ("system", system::TOOLS), ("token", token::TOOLS)];
