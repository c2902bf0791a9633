//! The forms in which a secret leaves a process: plain, hexadecimal and base64.
//!
//! Escapes (JSON, percent) are no forms: they mix at will, so text is decoded before it is searched.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::{Zeroize, Zeroizing};

use super::Reach;

/// Shorter secrets are not looked for: they would blank ordinary words and numbers.
pub const LEAST: usize = 4;
/// Shorter secrets, and those of hardly any different bytes, are found as whole words only.
pub const DISTINCT: usize = 6;
const DISTINCT_BYTES: usize = 4;

/// One way to write one secret.
pub struct Form {
    pub bytes: Zeroizing<Vec<u8>>,
    /// Found only where no letter or digit goes on before or after it.
    pub is_word: bool,
    /// Base64 letters beside the form that hold some of the secret's bits, and some of a neighbour's.
    pub spills_before: bool,
    pub spills_after: bool,
    /// Whether it is the secret itself, whose armour lines everybody knows.
    pub is_plain: bool,
}

impl Form {
    fn plain(bytes: Vec<u8>) -> Form {
        Form { is_plain: true, ..Form::encoded(bytes) }
    }

    fn encoded(bytes: Vec<u8>) -> Form {
        let bytes = Zeroizing::new(bytes);
        Form { bytes, is_word: false, spills_before: false, spills_after: false, is_plain: false }
    }
}

/// How a secret can be looked for without blanking what is no secret.
pub fn reach(secret: &[u8]) -> Reach {
    let secret = secret.trim_ascii();
    if secret.len() < LEAST {
        Reach::Nowhere
    } else if secret.len() < DISTINCT || distinct(secret) < DISTINCT_BYTES {
        Reach::WholeWord
    } else {
        Reach::Anywhere
    }
}

/// How many different bytes there are.
pub fn distinct(bytes: &[u8]) -> usize {
    let mut seen = [false; 256];
    bytes.iter().filter(|byte| !std::mem::replace(&mut seen[usize::from(**byte)], true)).count()
}

/// Every form of a secret, each once.
pub fn forms(secret: &[u8]) -> Vec<Form> {
    // The newline at the end of a file is no part of what has to stay secret.
    let secret = secret.trim_ascii();
    let reach = reach(secret);
    if reach == Reach::Nowhere {
        return Vec::new();
    }
    let mut forms = vec![Form::plain(secret.to_vec())];
    if secret.contains(&b' ') {
        forms.push(Form::plain(replaced(secret, b' ', b"+")));
    }
    if secret.contains(&b'\n') && !secret.contains(&b'\r') {
        forms.push(Form::plain(replaced(secret, b'\n', b"\r\n")));
    }
    forms.push(Form::encoded(hex(secret, b"0123456789abcdef")));
    forms.push(Form::encoded(hex(secret, b"0123456789ABCDEF")));
    if reach == Reach::WholeWord {
        forms.push(Form::encoded(STANDARD_NO_PAD.encode(secret).into_bytes()));
        forms.push(Form::encoded(URL_SAFE_NO_PAD.encode(secret).into_bytes()));
        forms.iter_mut().for_each(|form| form.is_word = true);
    } else {
        for before in 0..3 {
            forms.push(base64(secret, before, &STANDARD_NO_PAD));
            forms.push(base64(secret, before, &URL_SAFE_NO_PAD));
        }
    }
    let mut once: Vec<Form> = Vec::with_capacity(forms.len());
    for form in forms {
        if once.iter().all(|known| known.bytes != form.bytes) {
            once.push(form);
        }
    }
    once
}

fn replaced(secret: &[u8], byte: u8, with: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(secret.len() * 2);
    for each in secret {
        if *each == byte {
            bytes.extend_from_slice(with);
        } else {
            bytes.push(*each);
        }
    }
    bytes
}

fn hex(secret: &[u8], digits: &[u8; 16]) -> Vec<u8> {
    let digit = |nibble: u8| digits[usize::from(nibble)];
    secret.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The letters that are the secret's alone when `before` bytes of something else come first (RFC 4648, 4).
fn base64(secret: &[u8], before: usize, engine: &impl Engine) -> Form {
    let mut bytes = vec![0; before];
    bytes.extend_from_slice(secret);
    let mut letters = engine.encode(&bytes).into_bytes();
    let bits = bytes.len() * 8;
    bytes.zeroize();
    let own = (before * 8).div_ceil(6)..bits / 6;
    let core = letters[own.clone()].to_vec();
    letters.zeroize();
    Form { spills_before: before != 0, spills_after: !bits.is_multiple_of(6), ..Form::encoded(core) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_found_wherever_its_bytes_begin() {
        let secret = b"correct horse";
        for before in 0..5 {
            for after in 0..4 {
                let text = [vec![0xa5; before], secret.to_vec(), vec![0x5a; after]].concat();
                let text = STANDARD_NO_PAD.encode(text).into_bytes();
                let form = base64(secret, before % 3, &STANDARD_NO_PAD);
                let is_in = text.windows(form.bytes.len()).any(|window| window == *form.bytes);
                assert!(is_in, "{before} {after}");
            }
        }
    }

    #[test]
    fn short_and_monotonous_secrets_are_words_and_the_shortest_are_not_looked_for() {
        assert_eq!(reach(b"abc"), Reach::Nowhere);
        assert_eq!(reach(b"  abc \n"), Reach::Nowhere);
        assert_eq!(reach(b"1234"), Reach::WholeWord);
        assert_eq!(reach(b"111111111111"), Reach::WholeWord);
        assert_eq!(reach(b"hunter2"), Reach::Anywhere);
        assert!(forms(b"1234").iter().all(|form| form.is_word));
        assert!(forms(b"abc").is_empty());
    }
}
