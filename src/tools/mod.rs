//! The toolsets, in reading order.

use crate::registry::Toolset;

pub const TOOLSETS: &[Toolset] = &[];
