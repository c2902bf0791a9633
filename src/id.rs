//! Random identifiers: unguessable, and short enough to read out.

/// Random bytes of the operating system.
pub fn random<const BYTES: usize>() -> [u8; BYTES] {
    let mut bytes = [0u8; BYTES];
    // Its generator failing leaves nothing to fall back on.
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// A random identifier of `BYTES` bytes as lower-case hex.
fn hex<const BYTES: usize>() -> String {
    encode_hex(&random::<BYTES>())
}

/// Names one call in the log, the audit chain and error answers.
pub fn call_id() -> String {
    hex::<8>()
}

/// Names an approval; a person types it, so it is short. It grants nothing by itself.
pub fn approval_id() -> String {
    hex::<5>()
}

/// 256 random bits behind a prefix that secret scanners can find.
pub fn bearer_token() -> String {
    format!("hearth_{}", hex::<32>())
}

/// 128 random bits: a handle that must not be guessed.
pub fn handle() -> String {
    hex::<16>()
}

pub fn encode_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
        .map(char::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_hex() {
        assert_eq!(encode_hex(&[0, 15, 255]), "000fff");
        assert_eq!(call_id().len(), 16);
        assert_ne!(handle(), handle());
    }
}
