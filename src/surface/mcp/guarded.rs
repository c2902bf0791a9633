//! A stream that keeps something until it ends or its client goes away.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;

pub struct Guarded<S, G> {
    inner: Pin<Box<S>>,
    _guard: G,
}

impl<S, G> Guarded<S, G> {
    pub fn new(stream: S, guard: G) -> Guarded<S, G> {
        Guarded { inner: Box::pin(stream), _guard: guard }
    }
}

impl<S, G> Unpin for Guarded<S, G> {}

impl<S: Stream, G> Stream for Guarded<S, G> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        self.inner.as_mut().poll_next(cx)
    }
}
