//! Fetching: files piece by piece, several at once, in order, in bounded memory.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;

use super::{Event, Progress};
use crate::replica::object::{self, ObjectStore};
use crate::replica::plan::Candidate;

/// Bytes asked for at once.
const PIECE: u64 = 2 << 20;
/// Requests under way; with [`PIECE`], the bound of the memory.
const REQUESTS: usize = 16;
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);

type Fetched = Result<(usize, Bytes), object::Error>;

/// The files' bytes, in their order.
pub(super) struct Pieces {
    arriving: mpsc::Receiver<Fetched>,
    held: Option<(usize, Bytes)>,
    file: usize,
    pub failed: Option<object::Error>,
}

pub(super) fn pieces(store: &Arc<dyn ObjectStore>, files: &[Candidate], progress: Progress) -> Pieces {
    let wanted: Vec<(usize, String, u64)> =
        files.iter().enumerate().map(|(index, file)| (index, file.key.clone(), file.size)).collect();
    let store = store.clone();
    let (sender, arriving) = mpsc::channel(1);
    // It ends with the last piece, or with the receiver.
    tokio::spawn(async move {
        let ranges = wanted.into_iter().flat_map(|(index, key, size)| {
            let begins = (0..size.max(1)).step_by(PIECE as usize);
            begins.map(move |begin| (index, key.clone(), begin..(begin + PIECE).min(size.max(1))))
        });
        let mut fetched = stream::iter(ranges)
            .map(|(index, key, range)| {
                let store = &store;
                async move { fetch(store, &key, range).await.map(|bytes| (index, bytes)) }
            })
            .buffered(REQUESTS);
        while let Some(piece) = fetched.next().await {
            if let Ok((_, bytes)) = &piece {
                progress(Event::Arrived(bytes.len() as u64));
            }
            if sender.send(piece).await.is_err() {
                break;
            }
        }
    });
    Pieces { arriving, held: None, file: 0, failed: None }
}

async fn fetch(store: &Arc<dyn ObjectStore>, key: &str, range: std::ops::Range<u64>) -> Result<Bytes, object::Error> {
    let mut tries = 0;
    loop {
        match store.get(key, Some(range.clone())).await {
            Err(error) if error.retryable() && tries < TRIES => {
                tokio::time::sleep(PAUSE * 2_u32.pow(tries)).await;
                tries += 1;
            }
            other => return other,
        }
    }
}

impl Pieces {
    /// What is read from here on is that file.
    pub fn begin(&mut self, file: usize) {
        self.file = file;
    }
}

impl Read for Pieces {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some((file, bytes)) = &mut self.held {
                if *file > self.file {
                    return Ok(0);
                }
                if *file == self.file && !bytes.is_empty() {
                    let len = out.len().min(bytes.len());
                    bytes.copy_to_slice(&mut out[..len]);
                    return Ok(len);
                }
            }
            match self.arriving.blocking_recv() {
                None => return Ok(0),
                Some(Ok(piece)) => self.held = Some(piece),
                Some(Err(error)) => {
                    let message = error.to_string();
                    self.failed = Some(error);
                    return Err(io::Error::other(message));
                }
            }
        }
    }
}
