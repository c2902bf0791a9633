//! A million damaged files: none makes the decoder panic, or read other pages as whole.

use std::fs;
use std::panic::AssertUnwindSafe;
use std::thread;

use hearth::replica::ltx::{Decoder, checksum};

use super::{Content, decode, fixtures, ltx_files};

/// How many, and from which seed on; `tests/run fuzz` asks for a million.
const RUNS: &str = "HEARTH_FUZZ_RUNS";
const SEED: &str = "HEARTH_FUZZ_SEED";
const RUNS_DEFAULT: u64 = 20_000;
/// Larger files would only be slower.
const BYTES_MAX: usize = 6_000;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Damage as it happens and as it is made: flipped bits, words of an attacker, cuts, copies, splices.
fn damage(random: &mut Random, whole: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        match random.below(8) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => bytes.truncate(at.max(1)),
            3 => {
                let words = [0_u32, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX, random.next() as u32];
                let word = words[random.below(words.len())].to_be_bytes();
                for (byte, new) in bytes[at..].iter_mut().zip(word) {
                    *byte = new;
                }
            }
            4 => {
                let until = (at + random.below(64)).min(bytes.len());
                let copied = bytes[at..until].to_vec();
                bytes.splice(at..at, copied);
            }
            5 => {
                let until = (at + random.below(64)).min(bytes.len());
                bytes.drain(at..until);
            }
            6 => {
                let from = random.below(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            // The words that say how long things are: page headers and block lengths come early.
            _ => {
                let at = 100 + random.below(10);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.next() as u8;
                }
            }
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
    bytes
}

/// A checksum that fits what the file now says, so that what is behind the checksum is reached, too.
fn mend(bytes: &mut [u8]) {
    let Ok(mut decoder) = Decoder::new(&bytes[..]) else { return };
    let mut page = Vec::new();
    let mut running = checksum::Running::new();
    running.update(&bytes[..100]);
    loop {
        let begin = decoder.offset() as usize;
        match decoder.next_page(&mut page) {
            Ok(Some(_)) => {
                let is_block = bytes[begin + 5] == 1;
                running.update(&bytes[begin..begin + if is_block { 10 } else { 6 }]);
                running.update(&page);
            }
            Ok(None) => break,
            Err(_) => return,
        }
    }
    let (from, end) = (decoder.offset() as usize - 6, bytes.len().saturating_sub(8));
    if from < end {
        running.update(&bytes[from..end]);
        bytes[end..].copy_from_slice(&running.value().to_be_bytes());
    }
}

#[test]
fn a_damaged_file_is_an_error_and_nothing_else() {
    let (runs, seed) = (number(RUNS, RUNS_DEFAULT), number(SEED, 1));
    let corpus: Vec<(Vec<u8>, Content)> = ltx_files(&fixtures())
        .into_iter()
        .map(|path| fs::read(path).unwrap())
        .filter(|bytes| bytes.len() <= BYTES_MAX)
        .map(|bytes| (bytes.clone(), decode(&bytes).unwrap()))
        .collect();
    assert!(corpus.len() > 15, "{} small files", corpus.len());
    let threads = thread::available_parallelism().map_or(1, usize::from) as u64;
    let refused: u64 = thread::scope(|scope| {
        let work = |first: u64| {
            let corpus = &corpus;
            move || (first..runs).step_by(threads as usize).filter(|run| is_refused(corpus, seed + run)).count() as u64
        };
        let threads: Vec<_> = (0..threads).map(|first| scope.spawn(work(first))).collect();
        threads.into_iter().map(|thread| thread.join().expect("the seed is in the message above")).sum()
    });
    // Were nearly all refused, or nearly none, the damage would reach only one side of the checks.
    assert!(refused > runs / 2 && refused < runs, "{refused} of {runs} refused");
}

fn is_refused(corpus: &[(Vec<u8>, Content)], seed: u64) -> bool {
    let mut random = Random(seed);
    let (whole, content) = &corpus[random.below(corpus.len())];
    let (other, _) = &corpus[random.below(corpus.len())];
    let mut bytes = damage(&mut random, whole, other);
    let mended = random.below(2) == 0;
    if mended {
        mend(&mut bytes);
    }
    let read = std::panic::catch_unwind(AssertUnwindSafe(|| decode(&bytes)));
    let read = read.unwrap_or_else(|_| panic!("the decoder panics with {SEED}={seed} {RUNS}=1"));
    match read {
        Err(_) => true,
        // With a checksum of its own a file may say what it likes, in bounds; without, only what was written.
        Ok(read) => {
            let is_of_the_corpus = || read == *content || corpus.iter().any(|(_, content)| read == *content);
            assert!(mended || is_of_the_corpus(), "other pages are read as whole with {SEED}={seed} {RUNS}=1");
            false
        }
    }
}
