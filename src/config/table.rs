//! Reading a parsed TOML table against the keys it may have, noting what is wrong and going on.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::duration::Duration;
use super::mistake::Notes;
use super::suggest;

/// A table whose keys are known.
pub(super) struct Section<'a> {
    path: String,
    span: std::ops::Range<usize>,
    table: Option<&'a DeTable<'a>>,
    notes: &'a Notes<'a>,
    known: &'static [&'static str],
}

/// A value and where it stands. Readers answer with nothing after noting what is wrong.
#[derive(Clone)]
pub(super) struct Item<'a> {
    path: String,
    value: &'a Spanned<DeValue<'a>>,
    notes: &'a Notes<'a>,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub fn root(table: &'a Spanned<DeTable<'a>>, known: &'static [&'static str], notes: &'a Notes<'a>) -> Section<'a> {
        let section = Section { path: String::new(), span: table.span(), table: Some(table.get_ref()), notes, known };
        section.note_unknown_keys();
        section
    }

    /// The table under `key`; an empty one if there is none.
    pub fn section(&self, key: &'static str, known: &'static [&'static str]) -> Section<'a> {
        let empty = Section { path: key.to_owned(), span: 0..0, table: None, notes: self.notes, known };
        let Some(item) = self.get(key) else {
            return empty;
        };
        let Some(section) = item.clone().section(known) else {
            item.wrong(format_args!("must be a table that begins with `[{key}]`, not {}", item.shown()));
            return empty;
        };
        section
    }

    /// The tables of `[[path.key]]`.
    pub fn tables(&self, key: &'static str, known: &'static [&'static str]) -> Vec<Section<'a>> {
        let Some(item) = self.get(key) else {
            return Vec::new();
        };
        let wrong = |item: &Item<'a>| {
            item.wrong(format_args!("must be tables, each of which begins with `[[{}]]`", self.path_of(key)));
        };
        let DeValue::Array(_) = item.value.get_ref() else {
            wrong(&item);
            return Vec::new();
        };
        let mut sections = Vec::new();
        for item in item.items() {
            match item.clone().section(known) {
                Some(section) => sections.push(section),
                None => wrong(&item),
            }
        }
        sections
    }

    pub fn get(&self, key: &'static str) -> Option<Item<'a>> {
        debug_assert!(self.known.contains(&key), "`{key}` is read, so it has to be declared");
        let value = self.table?.get(key)?;
        Some(Item { path: self.path_of(key), value, notes: self.notes })
    }

    pub fn required(&self, key: &'static str, example: &str) -> Option<Item<'a>> {
        let item = self.get(key);
        // A misspelt key is told already.
        let mut unknown = self.table.into_iter().flat_map(|table| table.keys()).map(|name| name.get_ref());
        let is_misspelt = unknown.any(|name| suggest::nearest(name, self.known) == Some(key));
        if item.is_none() && !is_misspelt {
            self.wrong(format_args!("has no `{key}`; write {example}"));
        }
        item
    }

    pub fn boolean(&self, key: &'static str, default: bool) -> bool {
        self.get(key).and_then(|item| item.boolean()).unwrap_or(default)
    }

    pub fn integer<T: TryFrom<u64>>(&self, key: &'static str, range: RangeInclusive<u64>, default: T) -> T {
        self.get(key).and_then(|item| item.integer(range)).unwrap_or(default)
    }

    pub fn duration(
        &self,
        key: &'static str,
        range: RangeInclusive<Duration>,
        default: std::time::Duration,
    ) -> std::time::Duration {
        self.get(key).and_then(|item| item.duration(range)).unwrap_or(default)
    }

    /// The items of a list; none if there is no list.
    pub fn items(&self, key: &'static str) -> Vec<Item<'a>> {
        self.get(key).map(|item| item.items()).unwrap_or_default()
    }

    /// Notes what is wrong with the table as a whole.
    pub fn wrong(&self, message: impl fmt::Display) {
        self.notes.add(&self.path, self.span.clone(), format!("`{}` {message}", self.path));
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn note_unknown_keys(&self) {
        for key in self.table.into_iter().flat_map(|table| table.keys()) {
            let name: &str = key.get_ref();
            if self.known.contains(&name) {
                continue;
            }
            let hint = match (suggest::nearest(name, self.known), super::section_of(name)) {
                (None, Some(section)) => format!("; it belongs under [{section}]"),
                _ => suggest::hint(name, self.known),
            };
            let place = if self.path.is_empty() { String::new() } else { format!(" in [{}]", self.path) };
            let name: String = name.chars().take(64).collect();
            self.notes.add(&self.path_of(&name), key.span(), format!("unknown key `{name}`{place}{hint}"));
        }
    }
}

impl<'a> Item<'a> {
    /// Notes what is wrong with the value; the message goes on after its key.
    pub fn wrong(&self, message: impl fmt::Display) {
        self.notes.add(&self.path, self.value.span(), format!("`{}` {message}", self.path));
    }

    pub fn text(&self) -> Option<&'a str> {
        let DeValue::String(text) = self.value.get_ref() else {
            self.wrong(format_args!("must be a text in quotes, not {}", self.shown()));
            return None;
        };
        Some(text)
    }

    /// A text that is neither empty nor has blanks at its ends or control characters.
    pub fn word(&self) -> Option<&'a str> {
        let text = self.text()?;
        if text.is_empty() || text.trim() != text || text.chars().any(char::is_control) {
            self.wrong(format_args!("must be a text without blanks around it, not {}", self.shown()));
            return None;
        }
        Some(text)
    }

    pub fn boolean(&self) -> Option<bool> {
        let DeValue::Boolean(value) = self.value.get_ref() else {
            self.wrong(format_args!("must be true or false, not {}", self.shown()));
            return None;
        };
        Some(*value)
    }

    pub fn integer<T: TryFrom<u64>>(&self, range: RangeInclusive<u64>) -> Option<T> {
        let number = match self.value.get_ref() {
            DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        let value = number.filter(|number| range.contains(number)).and_then(|number| T::try_from(number).ok());
        if value.is_none() {
            self.wrong(format_args!(
                "must be a whole number from {} to {}, not {}",
                range.start(),
                range.end(),
                self.shown()
            ));
        }
        value
    }

    pub fn duration(&self, range: RangeInclusive<Duration>) -> Option<std::time::Duration> {
        let DeValue::String(text) = self.value.get_ref() else {
            self.wrong(format_args!(
                "must be a duration in quotes such as \"{}\", not {}",
                range.start(),
                self.shown()
            ));
            return None;
        };
        let duration = match text.parse::<Duration>() {
            Ok(duration) => duration,
            Err(error) => {
                self.wrong(format_args!("is no duration: {error}"));
                return None;
            }
        };
        if !range.contains(&duration) {
            self.wrong(format_args!("must be from {} to {}, not {duration}", range.start(), range.end()));
            return None;
        }
        Some(duration.into())
    }

    /// A text that reads as `T`; `expected` says how to write one.
    pub fn parsed<T: FromStr>(&self, expected: &str) -> Option<T> {
        let value = self.text()?.parse().ok();
        if value.is_none() {
            self.wrong(format_args!("must be {expected}, not {}", self.shown()));
        }
        value
    }

    /// One of the words of `choices`.
    pub fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let meant =
            suggest::nearest(text, &words).map(|word| format!("; did you mean \"{word}\"?")).unwrap_or_default();
        self.wrong(format_args!("must be one of \"{}\", not {}{meant}", words.join("\", \""), self.shown()));
        None
    }

    pub fn is_list(&self) -> bool {
        matches!(self.value.get_ref(), DeValue::Array(_))
    }

    pub fn items(&self) -> Vec<Item<'a>> {
        let DeValue::Array(array) = self.value.get_ref() else {
            self.wrong(format_args!("must be a list such as [\"…\"], not {}", self.shown()));
            return Vec::new();
        };
        let item = |(index, value)| Item { path: format!("{}[{index}]", self.path), value, notes: self.notes };
        array.iter().enumerate().map(item).collect()
    }

    /// The value as it may be shown in a message.
    pub fn shown(&self) -> String {
        const CHARS: usize = 60;
        let text = match self.value.get_ref() {
            DeValue::String(text) => format!("{text:?}"),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.to_string(),
            DeValue::Boolean(value) => value.to_string(),
            DeValue::Datetime(time) => time.to_string(),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        };
        match text.char_indices().nth(CHARS) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }

    fn section(self, known: &'static [&'static str]) -> Option<Section<'a>> {
        let DeValue::Table(table) = self.value.get_ref() else {
            return None;
        };
        let section =
            Section { path: self.path, span: self.value.span(), table: Some(table), notes: self.notes, known };
        section.note_unknown_keys();
        Some(section)
    }
}
