//! Writing LTX files.

use std::io::Write;

use lz4_flex::block::CompressTable;

use super::error::{Error, Part};
use super::header::{HEADER_BYTES, Header, lock_page};
use super::index::Entry;
use super::{PAGE_HEADER_BYTES, PAGE_IS_BLOCK, block_bytes_max, checksum, frame};

/// How pages are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PageFormat {
    /// As Litestream writes since 0.5.16; what is older cannot read it
    #[default]
    Block,
    /// As 0.5.0 to 0.5.15 wrote; every 0.5 reads it
    Frame,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    pub bytes: u64,
    pub file_checksum: u64,
    pub pages: u32,
}

/// Writes one file into `W`, page by page; nothing is flushed or synced.
///
/// It keeps about ten bytes per page until [`Encoder::finish`], for the index.
pub struct Encoder<W> {
    out: W,
    header: Header,
    format: PageFormat,
    checksum: checksum::Running,
    index: Vec<u8>,
    frame: Vec<u8>,
    table: CompressTable,
    offset: u64,
    last: u32,
    pages: u32,
}

const LENGTH_BYTES: usize = 4;

impl<W: Write> Encoder<W> {
    /// Writes the header, which must say [`NO_CHECKSUM`](super::NO_CHECKSUM).
    pub fn new(out: W, header: Header) -> Result<Encoder<W>, Error> {
        Encoder::with_format(out, header, PageFormat::Block)
    }

    pub fn with_format(mut out: W, header: Header, format: PageFormat) -> Result<Encoder<W>, Error> {
        if header.has_checksums() {
            let reason = "without the flag NoChecksum no Litestream restores it".to_owned();
            return Err(Error::Unencodable { part: Part::Header, reason });
        }
        let bytes = header.encode()?;
        let mut checksum = checksum::Running::new();
        checksum.update(&bytes);
        out.write_all(&bytes).map_err(|source| Error::Write { source })?;
        Ok(Encoder {
            out,
            header,
            format,
            checksum,
            index: Vec::new(),
            frame: Vec::new(),
            table: CompressTable::default(),
            offset: HEADER_BYTES as u64,
            last: 0,
            pages: 0,
        })
    }

    /// Adds a page; numbers ascend, and a snapshot leaves out none but the lock page.
    pub fn page(&mut self, pgno: u32, bytes: &[u8]) -> Result<(), Error> {
        let refuse = |reason| Err(Error::Unencodable { part: Part::Page(pgno), reason });
        if bytes.len() != self.header.page_size as usize {
            return refuse(format!("it has {} bytes, not {}", bytes.len(), self.header.page_size));
        }
        if let Err(reason) = check_order(&self.header, self.last, pgno) {
            return refuse(reason);
        }
        self.frame.clear();
        self.frame.extend_from_slice(&pgno.to_be_bytes());
        match self.format {
            PageFormat::Block => {
                let head = PAGE_HEADER_BYTES + LENGTH_BYTES;
                self.frame.extend_from_slice(&PAGE_IS_BLOCK.to_be_bytes());
                // The compressor wants more room than it can fill.
                let room = block_bytes_max(bytes.len()).max(lz4_flex::block::get_maximum_output_size(bytes.len()));
                self.frame.resize(head + room, 0);
                let len = lz4_flex::block::compress_into_with_table(bytes, &mut self.frame[head..], &mut self.table)
                    .map_err(|error| Error::Unencodable { part: Part::Page(pgno), reason: error.to_string() })?;
                self.frame[PAGE_HEADER_BYTES..head].copy_from_slice(&(len as u32).to_be_bytes());
                self.frame.truncate(head + len);
                self.checksum.update(&self.frame[..head]);
            }
            PageFormat::Frame => {
                self.frame.extend_from_slice(&0_u16.to_be_bytes());
                self.checksum.update(&self.frame);
                frame::write(pgno, bytes, &mut self.frame)?;
            }
        }
        self.checksum.update(bytes);
        self.out.write_all(&self.frame).map_err(|source| Error::Write { source })?;
        let size = self.frame.len() as u64;
        self.index.extend_from_slice(Entry::new(pgno, self.offset, size).as_bytes());
        self.offset += size;
        self.last = pgno;
        self.pages += 1;
        Ok(())
    }

    /// Writes the index and the trailer.
    pub fn finish(mut self) -> Result<(W, Summary), Error> {
        check_end(&self.header, self.last).map_err(|reason| Error::Unencodable { part: Part::Pages, reason })?;
        self.index.push(0);
        let length = self.index.len() as u64;
        let no_post_apply = 0_u64;
        let mut tail = vec![0; PAGE_HEADER_BYTES];
        tail.append(&mut self.index);
        tail.extend_from_slice(&length.to_be_bytes());
        tail.extend_from_slice(&no_post_apply.to_be_bytes());
        self.checksum.update(&tail);
        let file_checksum = self.checksum.value();
        tail.extend_from_slice(&file_checksum.to_be_bytes());
        self.out.write_all(&tail).map_err(|source| Error::Write { source })?;
        let bytes = self.offset + tail.len() as u64;
        Ok((self.out, Summary { bytes, file_checksum, pages: self.pages }))
    }
}

/// Whether a page may follow the one before it; 0 stands before the first.
pub(super) fn check_order(header: &Header, last: u32, pgno: u32) -> Result<(), String> {
    let lock = lock_page(header.page_size);
    let after = |pgno: u32| if pgno.wrapping_add(1) == lock { pgno.wrapping_add(2) } else { pgno.wrapping_add(1) };
    if pgno == 0 {
        Err("0 is no page".to_owned())
    } else if pgno == lock {
        Err("it is the lock page, which no file holds".to_owned())
    } else if pgno > header.commit {
        Err(format!("the database has only {} pages", header.commit))
    } else if pgno <= last {
        Err(format!("it follows page {last}, and pages must ascend"))
    } else if header.is_snapshot() && pgno != after(last) {
        Err(format!("it follows page {last}, and a snapshot must leave out none"))
    } else {
        Ok(())
    }
}

/// Whether pages may end after this one.
pub(super) fn check_end(header: &Header, last: u32) -> Result<(), String> {
    let lock = lock_page(header.page_size);
    let wanted = if header.commit == lock { lock - 1 } else { header.commit };
    if header.is_snapshot() && last != wanted {
        return Err(format!("a snapshot of {} pages ends with page {last}", header.commit));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::header::NO_CHECKSUM;
    use super::super::name::Txid;
    use super::*;

    fn header(min: u64, commit: u32) -> Header {
        Header {
            flags: NO_CHECKSUM,
            page_size: 65536,
            commit,
            min_txid: Txid(min),
            max_txid: Txid(min),
            timestamp_ms: 0,
            pre_apply: 0,
            wal_offset: 0,
            wal_size: 0,
            wal_salt1: 0,
            wal_salt2: 0,
            node_id: 0,
        }
    }

    #[test]
    fn a_snapshot_leaves_out_the_lock_page_and_no_other() {
        let lock = lock_page(65536);
        let snapshot = header(1, lock + 1);
        for (last, pgno, may) in [
            (0, 1, true),
            (0, 2, false),
            (1, 2, true),
            (1, 3, false),
            (2, 2, false),
            (lock - 1, lock, false),
            (lock - 1, lock + 1, true),
            (lock - 2, lock + 1, false),
            (lock + 1, lock + 2, false),
            (0, 0, false),
        ] {
            assert_eq!(check_order(&snapshot, last, pgno).is_ok(), may, "{pgno} after {last}");
        }
        assert!(check_end(&snapshot, lock - 1).is_err());
        assert!(check_end(&snapshot, lock + 1).is_ok());
        assert!(check_end(&header(1, lock), lock - 1).is_ok(), "a database that ends with the lock page");
        assert!(check_order(&header(2, lock + 1), 3, lock - 1).is_ok());
        assert!(check_order(&header(2, lock + 1), 3, lock).is_err());
        assert!(check_end(&header(2, lock + 1), 3).is_ok());
    }

    #[test]
    fn a_snapshot_that_is_not_whole_has_no_end() {
        let encoder = Encoder::new(Vec::new(), header(1, 2)).unwrap();
        assert!(encoder.finish().is_err_and(|error| error.to_string().contains("ends with page 0")));
    }
}
