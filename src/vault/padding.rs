//! Padding: sealed secrets come in a few sizes, so that a copy of the file does not tell their lengths.
//!
//! ```text
//!   length u32 BE | secret | zeros up to the next of SIZES
//! ```

use zeroize::Zeroizing;

use crate::secret::Secret;

const SIZES: [usize; 6] = [64, 256, 1024, 4096, 16_384, 65_536];
const PREFIX: usize = 4;

/// The longest secret.
pub const SECRET_BYTES_MAX: usize = SIZES[SIZES.len() - 1] - PREFIX;

/// `None` for a secret that is too long.
pub(super) fn pad(secret: &Secret) -> Option<Zeroizing<Vec<u8>>> {
    let size = SIZES.into_iter().find(|size| PREFIX + secret.len() <= *size)?;
    let length = u32::try_from(secret.len()).ok()?;
    // Of its final size at once: a vector that grows leaves copies behind.
    let mut padded = Zeroizing::new(vec![0; size]);
    padded[..PREFIX].copy_from_slice(&length.to_be_bytes());
    padded[PREFIX..PREFIX + secret.len()].copy_from_slice(secret.expose());
    Some(padded)
}

pub(super) fn unpad(padded: &[u8]) -> Option<Secret> {
    let (prefix, rest) = padded.split_first_chunk::<PREFIX>()?;
    let length = usize::try_from(u32::from_be_bytes(*prefix)).ok()?;
    let (secret, zeros) = rest.split_at_checked(length)?;
    let is_ours = SIZES.contains(&padded.len()) && zeros.iter().all(|byte| *byte == 0);
    is_ours.then(|| Secret::copied(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_fall_into_a_few_sizes_and_come_back() {
        for length in [0, 1, 59, 60, 61, 252, 253, 1020, 1021, 40_000, SECRET_BYTES_MAX] {
            let secret = Secret::new(vec![7; length]);
            let padded = pad(&secret).unwrap();
            assert!(SIZES.contains(&padded.len()), "{length}: {}", padded.len());
            assert_eq!(unpad(&padded).unwrap().expose(), secret.expose());
        }
        assert!(pad(&Secret::new(vec![7; SECRET_BYTES_MAX + 1])).is_none());
    }

    #[test]
    fn what_is_not_padding_is_refused() {
        let mut padded = pad(&Secret::new(b"hunter2".to_vec())).unwrap();
        padded[63] = 1;
        assert!(unpad(&padded).is_none());
        assert!(unpad(&[]).is_none() && unpad(&[0; 63]).is_none() && unpad(&[255; 64]).is_none());
    }
}
