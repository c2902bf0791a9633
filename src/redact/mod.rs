//! Takes stored secrets out of everything that leaves the process.
//!
//! What is found: a secret as it is, in hexadecimal (either case) and in base64 (both alphabets,
//! wherever in the encoded bytes it stands), and each of these behind escapes of JSON, Rust, shells
//! and URLs in any mix, three deep. Of forms of 24 bytes and more any part of 24 bytes is found.
//!
//! What is not: secrets under 4 bytes; secrets under 6 bytes or of under 4 different bytes, but for
//! whole words ([`Secrets::add`] says so); what was compressed, encrypted, spelled in another
//! letter case or another normal form of Unicode; and numbers, which are never text in an answer.
//! Since a guess that is right comes back as `***`, a secret that can be guessed is none: whoever
//! may write and read a text may try many.

mod escapes;
mod forms;
mod index;
mod scrubber;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use self::index::Index;
pub use self::scrubber::Scrubber;

/// What stands where a secret stood.
pub const MARK: &str = "***";

/// Where a secret is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    Anywhere,
    /// Short or monotonous: only where no letter or digit stands beside it
    WholeWord,
    /// Too short: its owner should know
    Nowhere,
}

/// The secrets that must not leave; those who read never wait for those who change them.
#[derive(Default)]
pub struct Secrets {
    known: Mutex<Vec<Known>>,
    index: RwLock<Option<Arc<Index>>>,
}

struct Known {
    label: String,
    secret: Zeroizing<Vec<u8>>,
}

impl Secrets {
    /// Forgets all secrets and takes these: each with the label that removes it again.
    pub fn replace_all<'a>(&self, secrets: impl IntoIterator<Item = (&'a [u8], &'a str)>) {
        let mut known = self.lock();
        *known = secrets.into_iter().map(|(secret, label)| Known::new(label, secret)).collect();
        self.publish(&known);
    }

    /// Adds a secret to those of its label, and says where it will be found.
    pub fn add(&self, label: &str, secret: &[u8]) -> Reach {
        let reach = forms::reach(secret);
        if reach != Reach::Nowhere {
            self.add_all([(secret, label)]);
        }
        reach
    }

    /// Adds many at the price of one.
    pub fn add_all<'a>(&self, secrets: impl IntoIterator<Item = (&'a [u8], &'a str)>) {
        let mut known = self.lock();
        known.extend(secrets.into_iter().map(|(secret, label)| Known::new(label, secret)));
        self.publish(&known);
    }

    /// Forgets every secret of a label.
    pub fn remove(&self, label: &str) {
        let mut known = self.lock();
        known.retain(|each| each.label != label);
        self.publish(&known);
    }

    /// The text with `***` in place of every secret; the text itself if there is none.
    pub fn clean<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let Some(index) = self.index() else { return Cow::Borrowed(text) };
        clean(&index, text).map_or(Cow::Borrowed(text), Cow::Owned)
    }

    /// The bytes with `***` in place of every secret.
    pub fn clean_bytes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let spans = self.index().map(|index| index.spans(bytes)).unwrap_or_default();
        if spans.is_empty() {
            return Cow::Borrowed(bytes);
        }
        let mut clean = Vec::with_capacity(bytes.len());
        let mut rest = 0;
        for span in spans {
            clean.extend_from_slice(&bytes[rest..span.start]);
            clean.extend_from_slice(MARK.as_bytes());
            rest = span.end;
        }
        clean.extend_from_slice(&bytes[rest..]);
        Cow::Owned(clean)
    }

    /// Cleans every text of a value, names of fields too.
    pub fn clean_value(&self, value: &mut Value) {
        if let Some(index) = self.index() {
            clean_value(&index, value);
        }
    }

    /// Whether a secret is in there.
    pub fn is_in(&self, bytes: &[u8]) -> bool {
        self.index().is_some_and(|index| !index.spans(bytes).is_empty())
    }

    /// Cleans bytes that come in parts.
    pub fn stream(self: &Arc<Secrets>) -> Scrubber {
        Scrubber::new(Arc::clone(self))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn index(&self) -> Option<Arc<Index>> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn publish(&self, known: &[Known]) {
        let index = Index::new(known.iter().map(|each| each.secret.as_slice()));
        let index = (!index.is_empty()).then(|| Arc::new(index));
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = index;
    }
}

impl Known {
    fn new(label: &str, secret: &[u8]) -> Known {
        Known { label: label.to_owned(), secret: Zeroizing::new(secret.to_vec()) }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(***)")
    }
}

fn clean(index: &Index, text: &str) -> Option<String> {
    let spans = index.spans(text.as_bytes());
    if spans.is_empty() {
        return None;
    }
    let mut clean = String::with_capacity(text.len());
    let mut rest = 0;
    for span in spans {
        let Range { start, end } = whole_chars(text, &span);
        // Widened to a whole character, it may touch the one before.
        if start < rest || (start == rest && rest != 0) {
            rest = rest.max(end);
            continue;
        }
        clean.push_str(&text[rest..start]);
        clean.push_str(MARK);
        rest = end;
    }
    clean.push_str(&text[rest..]);
    Some(clean)
}

fn whole_chars(text: &str, span: &Range<usize>) -> Range<usize> {
    let is_boundary = |at: &usize| text.is_char_boundary(*at);
    let start = (0..=span.start).rev().find(is_boundary).unwrap_or(0);
    start..(span.end..text.len()).find(is_boundary).unwrap_or(text.len())
}

fn clean_value(index: &Index, value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some(clean) = clean(index, text) {
                *text = clean;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| clean_value(index, item)),
        Value::Object(fields) => {
            if fields.keys().any(|name| !index.spans(name.as_bytes()).is_empty()) {
                let named = |(name, value): (String, Value)| (clean(index, &name).unwrap_or(name), value);
                *fields = std::mem::take(fields).into_iter().map(named).collect::<Map<_, _>>();
            }
            fields.values_mut().for_each(|field| clean_value(index, field));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
