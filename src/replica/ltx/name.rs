//! Transaction ids, levels and the names of LTX files.

use std::fmt;
use std::str::FromStr;

/// The position of a database: one more with each file of level 0. The first is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Txid(pub u64);

/// The range of transactions in a file, which is its name: `%016x-%016x.ltx`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName {
    pub min: Txid,
    pub max: Txid,
}

/// 0 is as captured, 1 to 8 are compacted, 9 holds snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Level(u8);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no name of an LTX file: it must be two ids of 16 lower-case hex digits, such as 0000000000000001-000000000000000b.ltx"
)]
pub struct NotAFileName {
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no transaction id: it must be up to 16 hex digits, such as 000000000000000b or b")]
pub struct NotATxid {
    text: String,
}

const DIGITS: usize = 16;
const SUFFIX: &str = ".ltx";

impl Txid {
    pub const FIRST: Txid = Txid(1);

    /// The one after this.
    pub fn next(self) -> Txid {
        Txid(self.0.saturating_add(1))
    }
}

impl fmt::Display for Txid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Txid {
    type Err = NotATxid;

    fn from_str(text: &str) -> Result<Txid, NotATxid> {
        let is_hex = (1..=DIGITS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match u64::from_str_radix(text, 16) {
            Ok(id) if is_hex && id > 0 => Ok(Txid(id)),
            _ => Err(NotATxid { text: text.chars().take(64).collect() }),
        }
    }
}

impl FileName {
    pub const fn is_snapshot(self) -> bool {
        self.min.0 == 1
    }

    pub const fn contains(self, id: Txid) -> bool {
        self.min.0 <= id.0 && id.0 <= self.max.0
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}{SUFFIX}", self.min, self.max)
    }
}

impl FromStr for FileName {
    type Err = NotAFileName;

    fn from_str(text: &str) -> Result<FileName, NotAFileName> {
        let id = |digits: &str| {
            let is_id = digits.len() == DIGITS && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            u64::from_str_radix(digits, 16).ok().filter(|id| is_id && *id > 0).map(Txid)
        };
        let parse = || {
            let (min, max) = text.strip_suffix(SUFFIX)?.split_once('-')?;
            let name = FileName { min: id(min)?, max: id(max)? };
            (name.min <= name.max).then_some(name)
        };
        parse().ok_or_else(|| NotAFileName { text: text.chars().take(64).collect() })
    }
}

impl Level {
    pub const CAPTURED: Level = Level(0);
    pub const SNAPSHOTS: Level = Level(9);

    /// All levels, from 0 to 9.
    pub fn all() -> impl DoubleEndedIterator<Item = Level> {
        (0..=Level::SNAPSHOTS.0).map(Level)
    }

    pub fn new(number: u8) -> Option<Level> {
        (number <= Level::SNAPSHOTS.0).then_some(Level(number))
    }

    pub const fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "L{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_its_range() {
        let name: FileName = "0000000000000002-000000000000000b.ltx".parse().unwrap();
        assert_eq!(name, FileName { min: Txid(2), max: Txid(11) });
        assert_eq!(name.to_string(), "0000000000000002-000000000000000b.ltx");
        assert!(name.contains(Txid(2)) && name.contains(Txid(11)) && !name.contains(Txid(12)) && !name.is_snapshot());
    }

    #[test]
    fn other_names_are_none() {
        for text in [
            "",
            ".ltx",
            "2-b.ltx",
            "0000000000000002-000000000000000B.ltx",
            "0000000000000002-000000000000000b.ltx.tmp",
            "0000000000000002-000000000000000b",
            "000000000000000b-0000000000000002.ltx",
            "0000000000000000-0000000000000002.ltx",
            "+000000000000002-000000000000000b.ltx",
            "00000000000000002-000000000000000b.ltx",
        ] {
            assert!(text.parse::<FileName>().is_err(), "{text}");
        }
    }

    #[test]
    fn ids_are_hex_with_or_without_their_zeros() {
        assert_eq!("b".parse(), Ok(Txid(11)));
        assert_eq!("000000000000000B".parse(), Ok(Txid(11)));
        for text in ["", "0", "+1", "0x1", "00000000000000001", "g"] {
            assert!(text.parse::<Txid>().is_err(), "{text}");
        }
    }

    #[test]
    fn levels_end_at_nine() {
        assert_eq!(Level::all().next_back(), Some(Level::SNAPSHOTS));
        assert_eq!(Level::new(9), Some(Level::SNAPSHOTS));
        assert_eq!(Level::new(10), None);
    }
}
