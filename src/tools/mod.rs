//! The toolsets, in reading order.

pub mod forum;

use crate::registry::Toolset;

pub const TOOLSETS: &[Toolset] = &[("forum", forum::TOOLS)];
