//! What happened to stored things, for those who watch them.

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// What stands behind this resource is another than before.
    Changed { uri: String },
    /// A resource came or went.
    ListChanged,
    /// Someone has lost their access: whoever keeps things open for callers looks again at who has not.
    AccessEnded,
}

impl Event {
    pub fn changed(uri: impl Into<String>) -> Event {
        Event::Changed { uri: uri.into() }
    }
}
