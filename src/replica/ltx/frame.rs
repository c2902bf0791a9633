//! LZ4 frames: how pages were compressed up to Litestream 0.5.15.
//!
//! The source is `lz4_Frame_format.md` of the LZ4 project, version 1.6. A frame holds exactly one
//! page, so it is read into that page's bytes, and no size that it claims is trusted.

use std::io::Write;

use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use twox_hash::XxHash32;

use super::error::{Error, Part};

const MAGIC: u32 = 0x184d_2204;
const VERSION: u8 = 0b0100_0000;
const VERSION_MASK: u8 = 0b1100_0000;
const BLOCK_CHECKSUM: u8 = 0b0001_0000;
const CONTENT_SIZE: u8 = 0b0000_1000;
const CONTENT_CHECKSUM: u8 = 0b0000_0100;
const DICTIONARY: u8 = 0b0000_0001;
const STORED: u32 = 1 << 31;

/// Reads one frame, piece by piece from `read`, into all of `page`.
///
/// `block` is room for compressed bytes, as large as the worst that LZ4 makes of a page.
/// `read` fills the slice that it is given, or fails.
pub(super) fn read(
    mut read: impl FnMut(&mut [u8]) -> Result<(), Error>,
    wrong: impl Fn(String) -> Error,
    block: &mut [u8],
    page: &mut [u8],
) -> Result<(), Error> {
    let mut descriptor = [0; 4 + 2];
    read(&mut descriptor)?;
    let [m0, m1, m2, m3, flags, sizes] = descriptor;
    if u32::from_le_bytes([m0, m1, m2, m3]) != MAGIC {
        return Err(wrong("its page is no LZ4 frame".to_owned()));
    }
    if flags & VERSION_MASK != VERSION || flags & DICTIONARY != 0 {
        return Err(wrong(format!("its LZ4 frame has flags {flags:#04x}, which are not known")));
    }
    let mut described = vec![flags, sizes];
    if flags & CONTENT_SIZE != 0 {
        let mut size = [0; 8];
        read(&mut size)?;
        described.extend_from_slice(&size);
    }
    let mut header_checksum = [0];
    read(&mut header_checksum)?;
    if header_checksum[0] != (XxHash32::oneshot(0, &described) >> 8) as u8 {
        return Err(wrong("the header of its LZ4 frame has another checksum".to_owned()));
    }
    let mut filled = 0;
    loop {
        let mut word = [0; 4];
        read(&mut word)?;
        let word = u32::from_le_bytes(word);
        if word == 0 {
            break;
        }
        let len = (word & !STORED) as usize;
        let Some(block) = block.get_mut(..len) else {
            return Err(wrong(format!("its LZ4 frame has a block of {len} bytes, more than a page can need")));
        };
        read(block)?;
        if flags & BLOCK_CHECKSUM != 0 {
            let mut checksum = [0; 4];
            read(&mut checksum)?;
            if u32::from_le_bytes(checksum) != XxHash32::oneshot(0, block) {
                return Err(wrong("a block of its LZ4 frame has another checksum".to_owned()));
            }
        }
        let (before, rest) = page.split_at_mut(filled);
        filled += if word & STORED != 0 {
            let Some(rest) = rest.get_mut(..len) else {
                return Err(wrong("its LZ4 frame holds more than a page".to_owned()));
            };
            rest.copy_from_slice(block);
            len
        } else {
            lz4_flex::block::decompress_into_with_dict(block, rest, before)
                .map_err(|error| wrong(format!("its LZ4 frame: {error}")))?
        };
    }
    if filled != page.len() {
        return Err(wrong(format!("its LZ4 frame holds {filled} bytes, not a page of {}", page.len())));
    }
    if flags & CONTENT_CHECKSUM != 0 {
        let mut checksum = [0; 4];
        read(&mut checksum)?;
        if u32::from_le_bytes(checksum) != XxHash32::oneshot(0, page) {
            return Err(wrong("its LZ4 frame has another content checksum".to_owned()));
        }
    }
    Ok(())
}

/// One frame of a page. The content checksum is not optional: older readers expect its four bytes.
pub(super) fn write(pgno: u32, page: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let info =
        FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent).content_checksum(true);
    let failed = |reason: String| Error::Unencodable { part: Part::Page(pgno), reason };
    let mut encoder = FrameEncoder::with_frame_info(info, out);
    encoder.write_all(page).map_err(|error| failed(error.to_string()))?;
    encoder.finish().map_err(|error| failed(error.to_string()))?;
    Ok(())
}
