//! The codec against every file that real Litestream wrote, and against files that are not whole.

use std::fs;

use hearth::replica::ltx::{Encoder, Error, FileName, Header, PageFormat, Part};
use proptest::prelude::*;

use super::{decode, encode, fixtures, ltx_files};

fn read(path: &str) -> Vec<u8> {
    fs::read(fixtures().join(path)).unwrap()
}

/// Three pages of 1024 bytes from 0.5.15, and five of 512 from 0.5.17.
const FRAMES: &str = "frames/ltx/0/0000000000000002-0000000000000002.ltx";
const BLOCKS: &str = "rep512/ltx/0/0000000000000002-0000000000000002.ltx";

#[test]
fn every_real_file_decodes_and_its_content_survives_both_page_formats() {
    let files = ltx_files(&fixtures());
    assert_eq!(files.len(), 82, "files of the fixtures");
    for path in files {
        let content = decode(&fs::read(&path).unwrap()).unwrap_or_else(|error| panic!("{} {error}", path.display()));
        let name: FileName = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
        assert_eq!(content.header.name(), name);
        for format in [PageFormat::Block, PageFormat::Frame] {
            let again = decode(&encode(content.header, &content.pages, format)).unwrap();
            assert_eq!(again.header, content.header);
            assert!(again.pages == content.pages, "{} with {format:?}", path.display());
        }
    }
}

#[test]
fn what_is_written_twice_is_the_same_bytes() {
    let content = decode(&read(BLOCKS)).unwrap();
    let write = || encode(content.header, &content.pages, PageFormat::Block);
    assert_eq!(write(), write());
    assert_eq!(decode(&write()).unwrap().pages, content.pages);
}

#[test]
fn a_file_cut_anywhere_is_refused_with_the_place() {
    for path in [FRAMES, BLOCKS] {
        let whole = read(path);
        for length in 0..whole.len() {
            match decode(&whole[..length]) {
                Err(Error::Truncated { offset, .. }) => assert_eq!(offset as usize, length),
                other => panic!("{path} cut to {length} bytes: {other:?}"),
            }
        }
        let mut longer = whole.clone();
        longer.push(0);
        assert!(decode(&longer).unwrap_err().to_string().contains("bytes follow"), "{path}");
    }
}

#[test]
fn no_flipped_bit_changes_what_is_read() {
    for path in [FRAMES, BLOCKS] {
        let whole = read(path);
        let content = decode(&whole).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // LZ4 has several spellings of the same bytes, and the checksum is over what they spell.
            if let Ok(read) = decode(&flipped) {
                assert_eq!(read, content, "{path}, bit {bit}");
                assert!(bit / 8 > 100, "{path}, bit {bit} of the header is not covered");
            }
        }
    }
}

#[test]
fn swapped_pages_and_a_swapped_index_are_refused() {
    let whole = read(BLOCKS);
    let content = decode(&whole).unwrap();
    let (first, second) = (&content.pages[0], &content.pages[1]);
    let mut encoder = Encoder::new(Vec::new(), content.header).unwrap();
    encoder.page(second.0, &second.1).unwrap();
    let error = encoder.page(first.0, &first.1).unwrap_err().to_string();
    assert!(error.contains("ascend"), "{error}");

    // The index as it is, but for the number of its first page.
    let index_bytes = u64::from_be_bytes(whole[whole.len() - 24..whole.len() - 16].try_into().unwrap()) as usize;
    let index_at = whole.len() - 24 - index_bytes;
    let mut swapped = whole.clone();
    swapped[index_at] += 1;
    let error = decode(&swapped).unwrap_err();
    assert!(matches!(error, Error::Malformed { part: Part::Index, .. }), "{error}");
}

#[test]
fn a_length_that_no_page_can_have_is_refused_before_it_is_read() {
    let mut hostile = read(BLOCKS);
    hostile[106..110].copy_from_slice(&u32::MAX.to_be_bytes());
    let error = decode(&hostile).unwrap_err().to_string();
    assert!(error.contains("page 1") && error.contains("4294967295 bytes, more than a page can need"), "{error}");

    // A block that unpacks to more than a page: literals, then one long match.
    let header = Header { page_size: 512, ..decode(&read(BLOCKS)).unwrap().header };
    let mut bomb = encode(header, &[(1, vec![0; 512])], PageFormat::Block)[..100].to_vec();
    let block = [&[0x1f, 0, 1, 0][..], &[255; 100], &[0, 0x10, 0]].concat();
    bomb.extend_from_slice(&[0, 0, 0, 1, 0, 1, 0, 0, 0, block.len() as u8]);
    bomb.extend_from_slice(&block);
    let error = decode(&bomb).unwrap_err();
    assert!(matches!(error, Error::Malformed { part: Part::Page(1), .. }), "{error}");
}

#[test]
fn a_frame_with_a_claim_of_its_own_is_refused() {
    let whole = read(FRAMES);
    let frame = 106;
    for (change, at) in [("no LZ4 frame", 0), ("flags", 4), ("checksum", 5), ("checksum", 6)] {
        let mut hostile = whole.clone();
        hostile[frame + at] ^= 0xff;
        let error = decode(&hostile).unwrap_err().to_string();
        assert!(error.contains(change), "{error}");
    }
    let mut hostile = whole.clone();
    hostile[frame + 7..frame + 11].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
    let error = decode(&hostile).unwrap_err().to_string();
    assert!(error.contains("2147483647 bytes, more than a page can need"), "{error}");
}

#[test]
fn a_file_with_checksums_of_the_database_is_read_and_never_written() {
    let header = Header { flags: 0, ..decode(&read(BLOCKS)).unwrap().header };
    assert!(Encoder::new(Vec::new(), header).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_pages_survive(
        seed in prop::collection::vec((1_u32..200, any::<u8>(), 0_usize..512), 0..40),
        frames in any::<bool>(),
    ) {
        let mut pages: Vec<(u32, Vec<u8>)> = Vec::new();
        for (pgno, byte, noise) in seed {
            let mut page = vec![byte; 512];
            for (index, byte) in page.iter_mut().enumerate().take(noise) {
                *byte = (index as u32).wrapping_mul(2_654_435_761).wrapping_add(pgno).to_le_bytes()[3];
            }
            pages.push((pgno, page));
        }
        pages.sort();
        pages.dedup_by_key(|(pgno, _)| *pgno);
        let header = Header { page_size: 512, commit: 200, ..decode(&read(BLOCKS)).unwrap().header };
        let format = if frames { PageFormat::Frame } else { PageFormat::Block };
        let again = decode(&encode(header, &pages, format)).unwrap();
        prop_assert_eq!(again.pages, pages);
    }
}
