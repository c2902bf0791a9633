//! Pages of a list: a bounded limit in, items and an opaque cursor out.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How many items a page may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub struct Limit(u32);

impl Limit {
    pub const MAX: u32 = 100;

    pub const fn get(self) -> usize {
        self.0 as usize
    }

    /// What to ask the store for, so that [`Page::of`] can tell whether there is more.
    pub const fn and_one(self) -> i64 {
        self.0 as i64 + 1
    }
}

impl Default for Limit {
    fn default() -> Limit {
        Limit(20)
    }
}

impl TryFrom<i64> for Limit {
    type Error = String;

    fn try_from(n: i64) -> Result<Limit, String> {
        match u32::try_from(n) {
            Ok(n @ 1..=Limit::MAX) => Ok(Limit(n)),
            _ => Err(format!("must be from 1 to {}, not {n}", Limit::MAX)),
        }
    }
}

impl JsonSchema for Limit {
    fn schema_name() -> Cow<'static, str> {
        "Limit".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": Limit::MAX, "default": 20 })
    }
}

/// Some items of a list, and where to go on.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Pass it as `cursor` for the next page; absent on the last one
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    pub fn none() -> Page<T> {
        Page { items: Vec::new(), next_cursor: None }
    }

    /// A page out of one row more than was asked for: `rows` holds up to `limit + 1`,
    /// and `key` says where the page after its last item begins.
    pub fn of<K: Serialize>(mut rows: Vec<T>, limit: Limit, key: impl FnOnce(&T) -> K) -> Page<T> {
        let more = limit.get() < rows.len();
        rows.truncate(limit.get());
        let next_cursor = if more { rows.last().map(|last| encode_cursor(&key(last))) } else { None };
        Page { items: rows, next_cursor }
    }
}

impl<T: Serialize> Page<T> {
    /// About 8,000 tokens of JSON, which is what a model can take in at once.
    const BYTES: usize = 24 << 10;

    /// Like [`Page::of`], but ends early, after at least one item, where the items grow long.
    pub fn bounded<K: Serialize>(mut rows: Vec<T>, limit: Limit, key: impl FnOnce(&T) -> K) -> Page<T> {
        let mut bytes = 0;
        let fitting = rows.iter().take_while(|row| {
            let before = bytes;
            bytes += serde_json::to_string(row).map_or(0, |json| json.len());
            before == 0 || bytes <= Page::<T>::BYTES
        });
        let fitting = fitting.count();
        if limit.get() <= fitting || fitting == rows.len() {
            return Page::of(rows, limit, key);
        }
        rows.truncate(fitting);
        let next_cursor = rows.last().map(|last| encode_cursor(&key(last)));
        Page { items: rows, next_cursor }
    }
}

/// A position in a list, opaque to the caller.
pub fn encode_cursor(key: &impl Serialize) -> String {
    let json = serde_json::to_vec(key).expect("a cursor key is plain data");
    URL_SAFE_NO_PAD.encode(json)
}

/// The position that [`encode_cursor`] made; anything else is the caller's mistake.
pub fn decode_cursor<K: DeserializeOwned>(cursor: Option<&str>) -> Result<Option<K>> {
    let Some(cursor) = cursor else { return Ok(None) };
    let bad =
        || Error::invalid("cursor", "not a cursor of this list").with_hint("leave it out to begin at the first page");
    if 512 < cursor.len() {
        return Err(bad());
    }
    let json = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| bad())?;
    Ok(Some(serde_json::from_slice(&json).map_err(|_| bad())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_page_has_a_cursor_and_the_last_has_none() {
        let limit = Limit::try_from(2).unwrap();
        let page = Page::of(vec![1, 2, 3], limit, |n| (*n, "x"));
        assert_eq!(page.items, [1, 2]);
        let key: (i32, String) = decode_cursor(page.next_cursor.as_deref()).unwrap().unwrap();
        assert_eq!(key, (2, "x".to_owned()));
        assert!(Page::of(vec![1, 2], limit, |n| *n).next_cursor.is_none());
    }

    #[test]
    fn a_page_of_long_items_ends_early_and_goes_on() {
        let long = || vec!["x".repeat(10_000); 5];
        let page = Page::bounded(long(), Limit::try_from(4).unwrap(), |_| 2);
        assert_eq!((page.items.len(), page.next_cursor.is_some()), (2, true));
        let page = Page::bounded(vec!["x".repeat(100_000)], Limit::default(), |_| 1);
        assert_eq!((page.items.len(), page.next_cursor.is_some()), (1, false));
        let page = Page::bounded(vec!["x".to_owned(); 3], Limit::try_from(2).unwrap(), |_| 2);
        assert_eq!((page.items.len(), page.next_cursor.is_some()), (2, true));
    }

    #[test]
    fn a_foreign_cursor_is_refused_by_name() {
        for text in ["", "x", "AAAA", "\u{1f600}", &"A".repeat(4000)] {
            let error = decode_cursor::<(i64, i64)>(Some(text)).unwrap_err();
            assert_eq!(error.field(), Some("cursor"));
        }
    }
}
