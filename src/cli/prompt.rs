//! Secrets from a person or a pipe: never from arguments, which the shell's history and other users see.

use std::io::{self, IsTerminal, Read};

use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::vault::padding::SECRET_BYTES_MAX;

/// How often a secret has to be typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed {
    Once,
    /// Where a slip would be kept
    Twice,
}

/// Asks at a terminal without showing what is typed; without a terminal, reads standard input.
///
/// # Errors
/// `invalid_input` if it is empty, too long, no text, or was typed in two ways.
pub fn secret(field: &str, what: &str, typed: Typed) -> Result<Zeroizing<String>> {
    let secret = if io::stdin().is_terminal() { asked(field, what, typed)? } else { piped(field)? };
    if secret.is_empty() {
        return Err(Error::invalid(field, "is empty").with_hint("type it at a terminal, or pipe it in"));
    }
    Ok(secret)
}

fn asked(field: &str, what: &str, typed: Typed) -> Result<Zeroizing<String>> {
    let ask = |prompt: String| {
        rpassword::prompt_password(prompt)
            .map(Zeroizing::new)
            .map_err(|error| Error::invalid(field, format_args!("cannot be asked for: {error}")))
    };
    let secret = ask(format!("{what}: "))?;
    if typed == Typed::Twice && ask(format!("{what}, again: "))? != secret {
        return Err(Error::invalid(field, "was not the same the second time").with_hint("nothing was done; call again"));
    }
    Ok(secret)
}

fn piped(field: &str) -> Result<Zeroizing<String>> {
    // Room for one byte more than may be, and for the end of a line.
    let most = SECRET_BYTES_MAX + 3;
    // All at once: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(most));
    io::stdin()
        .take(most as u64)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::invalid(field, format_args!("cannot be read from standard input: {error}")))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| {
        Error::invalid(field, "is not text in UTF-8").with_hint("encode it first, with `base64` for one")
    })?;
    Ok(Zeroizing::new(line_of(text).to_owned()))
}

/// A single line without its end, which `echo` adds; several lines, as of a key, as they are.
fn line_of(text: &str) -> &str {
    let line = text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    line.filter(|line| !line.contains('\n')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_a_single_line_is_taken_off() {
        for (text, secret) in [
            ("a\n", "a"),
            ("a\r\n", "a"),
            ("a", "a"),
            (" a \n", " a "),
            ("a\nb\n", "a\nb\n"),
            ("a\n\n", "a\n\n"),
            ("", ""),
        ] {
            assert_eq!(line_of(text), secret, "{text:?}");
        }
    }
}
