//! The toolsets, in reading order.

pub mod inventory;

use crate::registry::Toolset;

pub const TOOLSETS: &[Toolset] = &[("inventory", inventory::TOOLS)];
