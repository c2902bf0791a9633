//! A forum to search: made-up words, used as often as words of a language are.

use std::collections::HashSet;

const WORDS: usize = 20_000;
const BODY_BYTES: std::ops::Range<u64> = 300..1252;
const CONSONANTS: &[u8] = b"bcdfghjklmnprstvwz";
const VOWELS: &[u8] = b"aeiou";

/// The same posts on every run.
pub struct Corpus {
    random: Random,
    /// The most used first
    pub words: Vec<String>,
    /// How far into the sum of all frequencies each word reaches
    reach: Vec<f64>,
}

impl Corpus {
    pub fn new() -> Corpus {
        let mut random = Random(0x5eed_f04e_a711);
        let mut seen = HashSet::new();
        let mut words = Vec::with_capacity(WORDS);
        while words.len() < WORDS {
            // What is said often is short.
            let syllables = match words.len() {
                0..60 => 1,
                60..2_000 => 2,
                2_000..12_000 => 3,
                _ => 4,
            };
            let word = word(&mut random, syllables);
            if seen.insert(word.clone()) {
                words.push(word);
            }
        }
        let mut sum = 0.0;
        let reach = (1..=WORDS)
            .map(|rank| {
                sum += 1.0 / rank as f64;
                sum
            })
            .collect();
        Corpus { random, words, reach }
    }

    pub fn body(&mut self) -> String {
        let bytes = (BODY_BYTES.start + self.random.below(BODY_BYTES.end - BODY_BYTES.start)) as usize;
        let mut body = String::with_capacity(bytes + 16);
        while body.len() < bytes {
            body.push_str(self.pick());
            body.push(' ');
        }
        body.pop();
        body
    }

    pub fn title(&mut self) -> String {
        (0..6).map(|_| self.pick().to_owned()).collect::<Vec<_>>().join(" ")
    }

    fn pick(&mut self) -> &str {
        let sum = self.reach[WORDS - 1];
        let point = self.random.share() * sum;
        let rank = self.reach.partition_point(|reach| *reach < point);
        &self.words[rank.min(WORDS - 1)]
    }
}

fn word(random: &mut Random, syllables: usize) -> String {
    let mut word = String::new();
    for _ in 0..syllables {
        word.push(char::from(random.one_of(CONSONANTS)));
        word.push(char::from(random.one_of(VOWELS)));
        if random.below(3) == 0 {
            word.push(char::from(random.one_of(CONSONANTS)));
        }
    }
    word
}

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_of(&mut self, letters: &[u8]) -> u8 {
        letters[self.below(letters.len() as u64) as usize]
    }

    /// From 0 to less than 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
