//! Text with its escapes undone, and where each byte of it came from.

use std::ops::Range;

/// A text behind another: what it says once its escapes are read.
pub struct View {
    pub bytes: Vec<u8>,
    /// The place of each byte in the text before.
    places: Vec<(u32, u32)>,
    /// Where an escape begins that the end cuts off; the length of the text before if none does.
    pub unfinished: usize,
    /// How many bytes come before that escape.
    finished: usize,
}

impl View {
    fn new(capacity: usize) -> View {
        View {
            bytes: Vec::with_capacity(capacity),
            places: Vec::with_capacity(capacity),
            unfinished: capacity,
            finished: usize::MAX,
        }
    }

    /// Bytes out of `place`.
    fn put(&mut self, bytes: &[u8], place: Range<usize>) {
        // A text of four gigabytes does not come: bodies and answers have limits.
        let place = (u32::try_from(place.start).unwrap_or(u32::MAX), u32::try_from(place.end).unwrap_or(u32::MAX));
        self.bytes.extend_from_slice(bytes);
        self.places.extend(std::iter::repeat_n(place, bytes.len()));
    }

    /// What is said whatever comes next.
    pub fn finished(&self) -> &[u8] {
        &self.bytes[..self.finished.min(self.bytes.len())]
    }

    /// Where a part of this view stands in the text before.
    pub fn origin(&self, part: &Range<usize>) -> Range<usize> {
        self.origin_of(part.start)..self.places[part.end - 1].1 as usize
    }

    pub fn origin_of(&self, at: usize) -> usize {
        self.places[at].0 as usize
    }
}

/// `None` where there is nothing to undo.
type Undo = fn(&[u8]) -> Option<View>;

/// The kinds of escapes, each of which may stand inside the other.
pub const KINDS: [Undo; 2] = [backslashes, percents];

/// Undoes the escapes of JSON, and those of the debug form of Rust and of shells; `None` where there are none.
fn backslashes(text: &[u8]) -> Option<View> {
    undone(text, b'\\', backslash)
}

/// Undoes percent-encoding (RFC 3986, 2.1).
fn percents(text: &[u8]) -> Option<View> {
    undone(text, b'%', |rest| match (rest.get(1), rest.get(2)) {
        (Some(high), Some(low)) => match (digit(*high), digit(*low)) {
            (Some(high), Some(low)) => Escape::Byte((high * 16 + low) as u8, 3),
            _ => Escape::None,
        },
        (Some(high), None) if digit(*high).is_none() => Escape::None,
        _ => Escape::Unfinished,
    })
}

enum Escape {
    /// A byte, and how long its escape is
    Byte(u8, usize),
    Char(char, usize),
    None,
    Unfinished,
}

fn undone(text: &[u8], mark: u8, read: impl Fn(&[u8]) -> Escape) -> Option<View> {
    if !text.contains(&mark) {
        return None;
    }
    let mut view = View::new(text.len());
    let (mut at, mut is_changed) = (0, false);
    while at < text.len() {
        if text[at] != mark {
            view.put(&text[at..=at], at..at + 1);
            at += 1;
            continue;
        }
        let length = match read(&text[at..]) {
            Escape::Byte(byte, length) => {
                view.put(&[byte], at..at + length);
                length
            }
            Escape::Char(c, length) => {
                view.put(c.encode_utf8(&mut [0; 4]).as_bytes(), at..at + length);
                length
            }
            Escape::None => {
                view.put(&[mark], at..at + 1);
                at += 1;
                continue;
            }
            Escape::Unfinished => {
                view.unfinished = view.unfinished.min(at);
                view.finished = view.finished.min(view.bytes.len());
                view.put(&[mark], at..at + 1);
                at += 1;
                continue;
            }
        };
        is_changed = true;
        at += length;
    }
    (is_changed || view.unfinished < text.len()).then_some(view)
}

fn backslash(rest: &[u8]) -> Escape {
    let Some(kind) = rest.get(1) else { return Escape::Unfinished };
    let byte = match kind {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'f' => 12,
        b'0' => 0,
        b'"' | b'\\' | b'/' | b'\'' => *kind,
        b'x' => return hex(&rest[2..], 2).map_or_else(Missing::into, |code| Escape::Byte(code as u8, 4)),
        b'u' if rest.get(2) == Some(&b'{') => return braced(rest),
        b'u' => return unicode(rest),
        _ => return Escape::None,
    };
    Escape::Byte(byte, 2)
}

/// `\uXXXX`, or two of them for what lies beyond the first plane (RFC 8259, 7).
fn unicode(rest: &[u8]) -> Escape {
    let code = match hex(&rest[2..], 4) {
        Ok(code) => code,
        Err(missing) => return missing.into(),
    };
    if let Some(c) = char::from_u32(code) {
        return Escape::Char(c, 6);
    }
    let low = match (rest.get(6), rest.get(7)) {
        (Some(b'\\'), Some(b'u')) => hex(&rest[8..], 4),
        (None, _) | (Some(b'\\'), None) => Err(Missing::Rest),
        _ => Err(Missing::Digit),
    };
    match (code, low) {
        (0xd800..=0xdbff, Ok(low @ 0xdc00..=0xdfff)) => {
            let code = 0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00);
            char::from_u32(code).map_or(Escape::None, |c| Escape::Char(c, 12))
        }
        (0xd800..=0xdbff, Err(missing)) => missing.into(),
        _ => Escape::None,
    }
}

/// `\u{1f525}`
fn braced(rest: &[u8]) -> Escape {
    const DIGITS_MAX: usize = 6;
    let mut code = 0;
    for (index, byte) in rest.iter().enumerate().skip(3).take(DIGITS_MAX + 1) {
        match digit(*byte) {
            Some(digit) => code = code * 16 + digit,
            None if *byte == b'}' && index != 3 => {
                return char::from_u32(code).map_or(Escape::None, |c| Escape::Char(c, index + 1));
            }
            None => return Escape::None,
        }
    }
    if rest.len() <= 3 + DIGITS_MAX { Escape::Unfinished } else { Escape::None }
}

/// Why there is no number.
enum Missing {
    Digit,
    Rest,
}

impl From<Missing> for Escape {
    fn from(missing: Missing) -> Escape {
        match missing {
            Missing::Digit => Escape::None,
            Missing::Rest => Escape::Unfinished,
        }
    }
}

fn hex(bytes: &[u8], digits: usize) -> Result<u32, Missing> {
    let mut code = 0;
    for index in 0..digits {
        let byte = bytes.get(index).ok_or(Missing::Rest)?;
        code = code * 16 + digit(*byte).ok_or(Missing::Digit)?;
    }
    Ok(code)
}

fn digit(byte: u8) -> Option<u32> {
    char::from(byte).to_digit(16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(view: Option<View>) -> String {
        String::from_utf8(view.unwrap().bytes).unwrap()
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(plain(backslashes(br#"a\"b\\c\/d\n\u00e9\ud83d\udd25\u{1f525}\x41"#)), "a\"b\\c/d\né🔥🔥A");
        assert_eq!(plain(percents(b"a%20b%2Fc%c3%A9+100%")), "a b/cé+100%");
        assert!(backslashes(b"plain").is_none() && backslashes(br"C:\Users\Public").is_none());
        assert!(percents(b"5 % of 100%;").is_none());
    }

    #[test]
    fn what_is_cut_off_is_unfinished_and_what_is_no_escape_stays() {
        for (text, at) in [(r"ab\", 2), (r"\u00e", 0), (r"\ud83d\ud", 0), (r"x\u{1f5", 1), (r"\x4", 0)] {
            assert_eq!(backslashes(text.as_bytes()).unwrap().unfinished, at, "{text}");
        }
        assert_eq!(percents(b"ab%2").unwrap().unfinished, 2);
        assert_eq!(plain(backslashes(br"\q\ud83dx\u{}\u00zz\n")), "\\q\\ud83dx\\u{}\\u00zz\n");
    }

    #[test]
    fn a_part_is_found_where_its_escapes_stand() {
        let view = backslashes(br"a\u00e9b").unwrap();
        assert_eq!(view.origin(&(1..2)), 1..7);
        assert_eq!(view.origin(&(1..3)), 1..7);
        assert_eq!(view.origin(&(2..4)), 1..8);
    }
}
