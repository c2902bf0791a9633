//! `[log]`: what is logged, and in which form.

use tracing_subscriber::EnvFilter;

use super::table::{Item, Section};

/// How to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    pub format: Format,
    /// Directives as `tracing` reads them; checked
    pub filter: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people on a terminal, JSON elsewhere
    Auto,
    Human,
    Json,
}

pub(super) const KEYS: &[&str] = &["format", "filter"];
const FORMATS: &[(&str, Format)] = &[("auto", Format::Auto), ("human", Format::Human), ("json", Format::Json)];

impl Default for Log {
    fn default() -> Log {
        Log { format: Format::Auto, filter: "info".to_owned() }
    }
}

impl Log {
    pub(super) fn read(section: &Section<'_>) -> Log {
        let default = Log::default();
        Log {
            format: section.get("format").and_then(|item| item.choice(FORMATS)).unwrap_or(default.format),
            filter: section.get("filter").and_then(filter).unwrap_or(default.filter),
        }
    }
}

fn filter(item: Item<'_>) -> Option<String> {
    let text = item.word()?;
    if let Err(error) = EnvFilter::try_new(text) {
        item.wrong(format_args!(
            "must be a level such as \"info\" or directives such as \"info,hearth::store=debug\", not {}: {error}",
            item.shown()
        ));
        return None;
    }
    Some(text.to_owned())
}
