//! Finds every form of every secret in a text, at the speed of a filter that ordinary text passes.
//!
//! Forms of 24 bytes and more are looked for in pieces of 16, one every 8, and a piece that is
//! found is followed to both sides: so a part of a secret is found as the whole is, whatever cut
//! or wrapped it. Shorter forms are one piece.
//!
//! The text is not read byte by byte: every occurrence of a piece holds, among its first bytes, a
//! gram of 4 bytes that begins at a multiple of the stride. Grams that no piece begins with are
//! passed over by one look into a bit set; where one is there, a second set says whether the first
//! 8 bytes are a piece's; and only then pieces are compared. An automaton (Aho-Corasick) reads each
//! byte, which takes some six times as long (`benches/redact`), is slower to build, and keeps copies
//! of the secrets that cannot be wiped; it is what the tests compare this with.

use std::ops::Range;

use super::escapes;
use super::forms::{self, Form};

const PIECE: usize = 16;
const STEP: usize = 8;
/// Forms from this length on are cut into pieces.
const LONG: usize = PIECE + STEP;
/// Pieces of fewer different bytes are rows of blanks or zeros, which are everywhere.
const PIECE_DISTINCT: usize = 3;
const GRAM: usize = 4;
const STRIDE_MAX: usize = 4;
const HEAD_MAX: usize = 8;
/// Escapes within escapes within escapes, as JSON in a log line in JSON has them.
const DEPTH: usize = 3;
/// How many bytes of text an escaped byte takes at most.
const ESCAPED_BYTES: usize = 12;
const ARMOUR: &[u8] = b"-----";

/// All secrets, made ready for searching.
pub struct Index {
    forms: Vec<Form>,
    /// In the order of their bytes.
    pieces: Vec<Piece>,
    /// The first bytes of each piece, in the same order.
    heads: Vec<u64>,
    head_bytes: usize,
    stride: usize,
    gram_filter: Filter,
    head_filter: Filter,
    longest: usize,
}

struct Piece {
    form: u32,
    start: u32,
    end: u32,
}

impl Index {
    pub fn new<'a>(secrets: impl Iterator<Item = &'a [u8]>) -> Index {
        let forms: Vec<Form> = secrets.flat_map(forms::forms).collect();
        let mut pieces = Vec::new();
        for (number, form) in forms.iter().enumerate() {
            pieces.extend(cut(form).into_iter().map(|part| Piece {
                form: number as u32,
                start: part.start as u32,
                end: part.end as u32,
            }));
        }
        let bytes = |piece: &Piece| &forms[piece.form as usize].bytes[piece.start as usize..piece.end as usize];
        pieces.sort_unstable_by(|a, b| bytes(a).cmp(bytes(b)));
        let lengths = || pieces.iter().map(|piece| (piece.end - piece.start) as usize);
        let head_bytes = lengths().min().unwrap_or(HEAD_MAX).min(HEAD_MAX);
        let stride = (head_bytes - GRAM + 1).min(STRIDE_MAX);
        let longest = lengths().max().unwrap_or(0);
        let mut gram_filter = Filter::new(pieces.len() * stride);
        let mut head_filter = Filter::new(pieces.len());
        let mut heads = Vec::with_capacity(pieces.len());
        for piece in &pieces {
            for offset in 0..stride {
                gram_filter.add(head(&bytes(piece)[offset..offset + GRAM]));
            }
            let head = head(&bytes(piece)[..head_bytes]);
            head_filter.add(head);
            heads.push(head);
        }
        Index { forms, pieces, heads, head_bytes, stride, gram_filter, head_filter, longest }
    }

    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// How much of a text before a place says what stands at the place.
    pub fn context(&self) -> usize {
        self.longest * ESCAPED_BYTES
    }

    /// Where secrets are, in order and apart from each other.
    pub fn spans(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        self.search(text, DEPTH, &mut found);
        if found.len() < 2 {
            return found;
        }
        found.sort_unstable_by_key(|span| (span.start, span.end));
        let mut apart: Vec<Range<usize>> = Vec::with_capacity(found.len());
        for span in found {
            match apart.last_mut() {
                Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
                _ => apart.push(span),
            }
        }
        apart
    }

    fn search(&self, text: &[u8], depth: usize, found: &mut Vec<Range<usize>>) {
        self.search_as_it_is(text, found);
        if depth == 0 {
            return;
        }
        for view in escapes::KINDS.iter().filter_map(|undo| undo(text)) {
            let mut behind = Vec::new();
            self.search(&view.bytes, depth - 1, &mut behind);
            found.extend(behind.iter().map(|part| view.origin(part)));
        }
    }

    fn search_as_it_is(&self, text: &[u8], found: &mut Vec<Range<usize>>) {
        let mut last = None;
        let mut at = 0;
        while at + GRAM <= text.len() {
            if self.gram_filter.may_have(head(&text[at..at + GRAM])) {
                for start in at.saturating_sub(self.stride - 1)..=at {
                    self.compare(text, start, &mut last, found);
                }
            }
            at += self.stride;
        }
    }

    /// Finds the pieces that stand at `start`; `last` is the form found last and where.
    fn compare(
        &self,
        text: &[u8],
        start: usize,
        last: &mut Option<(u32, Range<usize>)>,
        found: &mut Vec<Range<usize>>,
    ) {
        let Some(first) = text.get(start..start + self.head_bytes) else { return };
        let wanted = head(first);
        if !self.head_filter.may_have(wanted) {
            return;
        }
        let from = self.heads.partition_point(|head| *head < wanted);
        for (piece, _) in self.pieces[from..].iter().zip(&self.heads[from..]).take_while(|(_, head)| **head == wanted) {
            let form = &self.forms[piece.form as usize];
            if !text[start..].starts_with(&form.bytes[piece.start as usize..piece.end as usize]) {
                continue;
            }
            let end = start + (piece.end - piece.start) as usize;
            // The next piece of what has just been followed to its ends.
            if last.as_ref().is_some_and(|(number, span)| *number == piece.form && end <= span.end) {
                continue;
            }
            if form.is_word && !is_word(text, &(start..end)) {
                continue;
            }
            let span = follow(form, piece, text, start);
            *last = Some((piece.form, span.clone()));
            found.push(span);
        }
    }

    /// From where on the end of a text may turn out to be the beginning of a secret.
    pub fn open_end(&self, text: &[u8]) -> usize {
        self.open_end_within(text, DEPTH)
    }

    fn open_end_within(&self, text: &[u8], depth: usize) -> usize {
        let tail = text.len() - text.len().min(self.longest);
        let mut open = (tail..text.len()).find(|start| self.may_go_on(text, *start)).unwrap_or(text.len());
        if depth == 0 {
            return open;
        }
        for view in escapes::KINDS.iter().filter_map(|undo| undo(text)) {
            open = open.min(view.unfinished);
            let behind = self.open_end_within(view.finished(), depth - 1);
            if behind < view.finished().len() {
                open = open.min(view.origin_of(behind));
            }
        }
        open
    }

    /// Whether what follows `start` is a piece as far as it goes, and the piece may be longer.
    fn may_go_on(&self, text: &[u8], start: usize) -> bool {
        let rest = &text[start..];
        let from = self.pieces.partition_point(|piece| self.bytes(piece) < rest);
        let after = self.pieces[from..].iter().take_while(|piece| self.bytes(piece).starts_with(rest));
        // What comes next decides whether it is a word.
        let mut open = after.filter(|piece| rest.len() < self.bytes(piece).len() || self.form(piece).is_word);
        open.next().is_some()
    }

    fn form(&self, piece: &Piece) -> &Form {
        &self.forms[piece.form as usize]
    }

    fn bytes(&self, piece: &Piece) -> &[u8] {
        &self.form(piece).bytes[piece.start as usize..piece.end as usize]
    }
}

/// The pieces of a form.
fn cut(form: &Form) -> Vec<Range<usize>> {
    let length = form.bytes.len();
    if length < LONG || form.is_word {
        return std::iter::once(0..length).collect();
    }
    let armour = if form.is_plain { armour(&form.bytes) } else { Vec::new() };
    // What follows an armour line begins a piece, too: it must not wait for the next step.
    let after_armour = armour.iter().map(|line| line.end).filter(|end| end + PIECE <= length);
    let starts = (0..=length - PIECE).step_by(STEP).chain([length - PIECE]).chain(after_armour);
    let mut pieces: Vec<Range<usize>> = starts
        .map(|start| start..start + PIECE)
        .filter(|piece| PIECE_DISTINCT <= forms::distinct(&form.bytes[piece.clone()]))
        .filter(|piece| !armour.iter().any(|line| line.start < piece.end && piece.start < line.end))
        .collect();
    pieces.sort_unstable_by_key(|piece| piece.start);
    pieces.dedup();
    if pieces.is_empty() {
        pieces.push(0..length);
    }
    pieces
}

/// The lines that begin and end a key in text (RFC 7468), the same in everybody's.
fn armour(text: &[u8]) -> Vec<Range<usize>> {
    let mut lines = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(ARMOUR) {
            lines.push(at..at + line.len());
        }
        at += line.len();
    }
    lines
}

/// How far the text is the form's, before and after a piece that stands at `start`.
fn follow(form: &Form, piece: &Piece, text: &[u8], start: usize) -> Range<usize> {
    let (own_start, own_end) = (piece.start as usize, piece.end as usize);
    let end = start + (own_end - own_start);
    let pairs = text[..start].iter().rev().zip(form.bytes[..own_start].iter().rev());
    let before = pairs.take_while(|(a, b)| a == b).count();
    let after = text[end..].iter().zip(&form.bytes[own_end..]).take_while(|(a, b)| a == b).count();
    let mut span = start - before..end + after;
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(byte);
    if form.spills_before && before == own_start && text[..span.start].last().is_some_and(is_letter) {
        span.start -= 1;
    }
    if form.spills_after && own_end + after == form.bytes.len() && text.get(span.end).is_some_and(is_letter) {
        span.end += 1;
        span.end += text[span.end..].iter().take(2).take_while(|byte| **byte == b'=').count();
    }
    span
}

fn is_word(text: &[u8], span: &Range<usize>) -> bool {
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || 0x80 <= *byte;
    let goes_on =
        |inside: Option<&u8>, outside: Option<&u8>| inside.is_some_and(is_letter) && outside.is_some_and(is_letter);
    !goes_on(text.get(span.start), text[..span.start].last()) && !goes_on(text[..span.end].last(), text.get(span.end))
}

/// Up to eight bytes as a number that sorts as they do.
fn head(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |head, byte| head << 8 | u64::from(*byte))
}

/// A set that says "no" for certain, and "yes" at times wrongly.
struct Filter {
    bits: Vec<u64>,
    shift: u32,
}

impl Filter {
    /// Room for `items`, of which a stranger passes for one in about 1 of 32 cases at most.
    fn new(items: usize) -> Filter {
        const BITS_PER_ITEM: usize = 32;
        let bits = (items * BITS_PER_ITEM).next_power_of_two().clamp(1 << 12, 1 << 24);
        Filter { bits: vec![0; bits / 64], shift: 64 - bits.trailing_zeros() }
    }

    fn place(&self, item: u64) -> (usize, u64) {
        let hash = item.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift;
        ((hash / 64) as usize, 1 << (hash % 64))
    }

    fn add(&mut self, item: u64) {
        let (word, bit) = self.place(item);
        self.bits[word] |= bit;
    }

    fn may_have(&self, item: u64) -> bool {
        let (word, bit) = self.place(item);
        self.bits[word] & bit != 0
    }
}
