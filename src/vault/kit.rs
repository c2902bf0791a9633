//! The recovery kit: the root key on paper, with a checksum against slips of the pen.
//!
//! The code is Bech32m (BIP 350) of one version byte and the 32 bytes of the key, in groups of
//! four. The case of letters is free, spaces and dashes count for nothing.

use bech32::primitives::decode::{CheckedHrpstring, CheckedHrpstringError};
use bech32::{Bech32m, Hrp};
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use zeroize::Zeroizing;

use super::root::{LENGTH, Root};
use crate::error::{Error, Result};
use crate::secret::{Key, Secret};

const HRP: &str = "hearth";
const VERSION: u8 = 1;
const GROUP: usize = 4;
const GROUPS_A_LINE: usize = 8;

/// The root key as a person writes it down.
pub fn code(root: &Root) -> Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new([VERSION; 1 + LENGTH]);
    bytes[1..].copy_from_slice(root.key().expose());
    let hrp = Hrp::parse(HRP).map_err(Error::internal)?;
    let code = bech32::encode_upper::<Bech32m>(hrp, bytes.as_ref()).map_err(Error::internal)?;
    Ok(Zeroizing::new(code))
}

/// What a person typed or scanned. No refusal repeats a letter of it.
pub fn read(typed: &Secret) -> Result<Root> {
    let refuse = |what: &str| Error::invalid("code", what);
    let text = std::str::from_utf8(typed.expose()).map_err(|_| refuse("is not text"))?;
    let code: Zeroizing<String> =
        Zeroizing::new(text.chars().filter(|letter| !letter.is_whitespace() && *letter != '-').collect());
    if code.is_empty() {
        return Err(refuse("is empty"));
    }
    if !code.get(..=HRP.len()).is_some_and(|start| start.eq_ignore_ascii_case("hearth1")) {
        return Err(refuse("is not of a recovery kit: that begins with HEARTH1"));
    }
    let checked = CheckedHrpstring::new::<Bech32m>(&code).map_err(|error| match error {
        CheckedHrpstringError::Checksum(_) => refuse("has a slip in it, or is not whole: its checksum does not hold"),
        _ => refuse("holds a letter that no code has, or mixes capital and small letters"),
    })?;
    let bytes: Zeroizing<Vec<u8>> = Zeroizing::new(checked.byte_iter().collect());
    match bytes.split_first() {
        Some((&VERSION, key)) => {
            let key = key.try_into().map_err(|_| refuse("is not of the length of a root key"))?;
            Ok(Root::new(Key::new(key)))
        }
        _ => Err(refuse("is of a newer hearth")),
    }
}

/// The page to print or to write off.
pub fn page(root: &Root) -> Result<Zeroizing<String>> {
    let code = code(root)?;
    let qr = QrCode::with_error_correction_level(code.as_bytes(), EcLevel::M).map_err(Error::internal)?;
    let qr = Zeroizing::new(qr.render::<Dense1x2>().quiet_zone(true).build());
    Ok(Zeroizing::new(format!(
        "hearth recovery kit\n\
         root key {id}\n\n\
         {code}\n\n\
         {qr}\n\n\
         Whoever has this page and a copy of the database has every secret in it. Keep it on paper,\n\
         in two places, and not beside the machine or its backups.\n\n\
         On a new machine, with the database in DIR:\n\
         \x20 1. hearth key restore --data DIR     asks for the code above\n\
         \x20 2. hearth key verify --data DIR      opens every secret, shows none\n\
         \x20 3. hearth serve --data DIR\n",
        id = root.id(),
        code = *grouped(&code),
        qr = *qr,
    )))
}

fn grouped(code: &str) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(2 * code.len()));
    for (at, letter) in code.chars().enumerate() {
        if at != 0 && at % (GROUP * GROUPS_A_LINE) == 0 {
            text.push('\n');
        } else if at != 0 && at % GROUP == 0 {
            text.push(' ');
        }
        text.push(letter);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> Secret {
        Secret::copied(text.as_bytes())
    }

    #[test]
    fn a_code_comes_back_however_it_is_typed() {
        let root = Root::generate().unwrap();
        let code = code(&root).unwrap();
        let page = page(&root).unwrap();
        let lines: Vec<_> = page.lines().skip_while(|line| !line.starts_with("HEAR")).take(3).collect();
        for text in [code.to_string(), code.to_lowercase(), lines.join("\n"), grouped(&code).replace(' ', "-")] {
            assert_eq!(read(&typed(&text)).unwrap().key().expose(), root.key().expose());
        }
        assert!(page.contains('\u{2588}') && page.contains(&root.id().to_string()));
    }

    #[test]
    fn every_slip_is_noticed_and_none_is_repeated() {
        let code = code(&Root::generate().unwrap()).unwrap();
        for at in 0..code.len() {
            let mut letters = code.as_bytes().to_vec();
            letters[at] = if letters[at] == b'Q' { b'P' } else { b'Q' };
            assert!(read(&Secret::new(letters)).is_err(), "{at}");
        }
        let mut swapped = code.as_bytes().to_vec();
        let at = (20..code.len() - 1).find(|at| swapped[*at] != swapped[at + 1]).unwrap();
        swapped.swap(at, at + 1);
        assert!(read(&Secret::new(swapped)).is_err());
        for (text, said) in [
            ("", "is empty"),
            ("hunter2", "begins with HEARTH1"),
            (&code[..40], "checksum"),
            (&format!("{}b", &code[..40].to_lowercase()), "no code has"),
        ] {
            let error = read(&typed(text)).err().unwrap();
            assert!(error.message.contains(said), "{error}");
            assert!(text.is_empty() || !error.message.contains(text), "{error}");
        }
    }
}
