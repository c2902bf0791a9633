//! The forum: threads and posts of people and agents, with search and read marks.

mod posts;
mod reading;
mod search;
mod threads;

use crate::app::{Context, Event};
use crate::registry::Entry;
use crate::store::forum::Signature;
use crate::text::Line;
use posts::{DeletePost, EditPost, Reply};
use reading::{MarkRead, WhatsNew};
use search::Search;
use threads::{CreateThread, ListThreads, PinThread, ReadThread, TagThread};

pub const TOOLS: &[Entry] = &[
    Entry::of::<WhatsNew>(),
    Entry::of::<ListThreads>(),
    Entry::of::<ReadThread>(),
    Entry::of::<Search>(),
    Entry::of::<CreateThread>(),
    Entry::of::<Reply>(),
    Entry::of::<EditPost>(),
    Entry::of::<DeletePost>(),
    Entry::of::<MarkRead>(),
    Entry::of::<TagThread>(),
    Entry::of::<PinThread>(),
];

/// The name that a post is signed with.
type Author = Line<64>;

/// Who posts: under the name that they chose, or under their own.
fn signature(cx: &Context, author: Option<Author>) -> Signature {
    let verified = cx.caller.principal.clone();
    Signature { author: author.map_or_else(|| verified.clone(), Author::into_string), verified }
}

/// Tells those who watch the thread or the list of threads.
fn publish_change(cx: &Context, thread_id: i64) {
    cx.publish(Event::Changed { uri: format!("hearth://thread/{thread_id}") });
    cx.publish(Event::Changed { uri: "hearth://forum".to_owned() });
}
