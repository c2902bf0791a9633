//! Cleans a stream: what one part begins and the next one ends is found as in a whole text.

use std::ops::Range;
use std::sync::Arc;

use super::{MARK, Secrets};

/// Holds back only what may be the beginning of a secret.
pub struct Scrubber {
    secrets: Arc<Secrets>,
    /// What was let go last, and after it what is held back.
    bytes: Vec<u8>,
    /// How much of `bytes` was let go.
    gone: usize,
    /// Whether the last of what was let go was a secret.
    is_inside: bool,
}

impl Scrubber {
    pub(super) fn new(secrets: Arc<Secrets>) -> Scrubber {
        Scrubber { secrets, bytes: Vec::new(), gone: 0, is_inside: false }
    }

    /// Takes a part of the stream and returns what is certain by now.
    pub fn push(&mut self, part: &[u8]) -> Vec<u8> {
        self.bytes.extend_from_slice(part);
        let open = self.secrets.index().map_or(self.bytes.len(), |index| index.open_end(&self.bytes));
        self.let_go(open.max(self.gone))
    }

    /// The rest, once the stream has ended.
    pub fn finish(mut self) -> Vec<u8> {
        self.let_go(self.bytes.len())
    }

    fn let_go(&mut self, until: usize) -> Vec<u8> {
        let index = self.secrets.index();
        let spans = index.as_ref().map(|index| index.spans(&self.bytes)).unwrap_or_default();
        let mut out = Vec::with_capacity(until - self.gone);
        for Range { start, end } in spans {
            if end <= self.gone {
                continue;
            }
            if until <= start {
                break;
            }
            if self.gone < start || !self.is_inside {
                out.extend_from_slice(&self.bytes[self.gone..start.max(self.gone)]);
                out.extend_from_slice(MARK.as_bytes());
            }
            self.is_inside = until <= end;
            self.gone = end.min(until);
        }
        if self.gone < until {
            out.extend_from_slice(&self.bytes[self.gone..until]);
            self.is_inside = false;
        }
        let context = index.map_or(0, |index| index.context());
        let mut keep = until.saturating_sub(context);
        // An escape is not taken apart, nor are two backslashes.
        while keep != 0 && self.bytes[keep - 1] == b'\\' {
            keep -= 1;
        }
        self.bytes.drain(..keep);
        self.gone = until - keep;
        out
    }
}
