//! Reading LTX files, from anyone.

use std::io::{self, Read};

use super::encoder::{check_end, check_order};
use super::error::{Error, Part};
use super::header::{HEADER_BYTES, Header};
use super::index::{Entry, Expected};
use super::trailer::{TRAILER_BYTES, Trailer};
use super::{PAGE_HEADER_BYTES, PAGE_IS_BLOCK, block_bytes_max, checksum, frame};

/// Reads one file from `R`, page by page, in small reads: give it a buffered reader.
///
/// It holds one compressed page and no more, whatever the file claims. That the file is whole
/// and was written so is known after [`Decoder::finish`] only.
pub struct Decoder<R> {
    source: Source<R>,
    header: Header,
    expected: Expected,
    database: u64,
    block: Vec<u8>,
    last: u32,
    pages: u32,
    ended: bool,
}

struct Source<R> {
    reader: R,
    checksum: checksum::Running,
    offset: u64,
}

impl<R: Read> Decoder<R> {
    /// Reads and checks the header.
    pub fn new(reader: R) -> Result<Decoder<R>, Error> {
        let mut source = Source { reader, checksum: checksum::Running::new(), offset: 0 };
        let mut bytes = [0; HEADER_BYTES];
        source.fill(Part::Header, &mut bytes)?;
        source.checksum.update(&bytes);
        let header = Header::decode(&bytes)?;
        let block = vec![0; block_bytes_max(header.page_size as usize)];
        Ok(Decoder {
            source,
            header,
            expected: Expected::new(),
            database: checksum::PRESENT,
            block,
            last: 0,
            pages: 0,
            ended: false,
        })
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Pages read so far.
    pub fn pages(&self) -> u32 {
        self.pages
    }

    /// Bytes of the file read so far.
    pub fn offset(&self) -> u64 {
        self.source.offset
    }

    /// The next page into `page`, which becomes as long as a page, and its number; none after the last.
    pub fn next_page(&mut self, page: &mut Vec<u8>) -> Result<Option<u32>, Error> {
        if self.ended {
            return Ok(None);
        }
        let begin = self.source.offset;
        let mut head = [0; PAGE_HEADER_BYTES];
        self.source.fill(Part::Pages, &mut head)?;
        self.source.checksum.update(&head);
        let [p0, p1, p2, p3, f0, f1] = head;
        let (pgno, flags) = (u32::from_be_bytes([p0, p1, p2, p3]), u16::from_be_bytes([f0, f1]));
        if pgno == 0 && flags == 0 {
            check_end(&self.header, self.last).map_err(|reason| malformed(Part::Pages, begin, reason))?;
            self.ended = true;
            return Ok(None);
        }
        check_order(&self.header, self.last, pgno).map_err(|reason| malformed(Part::Page(pgno), begin, reason))?;
        page.resize(self.header.page_size as usize, 0);
        match flags {
            0 => self.read_frame(pgno, page)?,
            PAGE_IS_BLOCK => self.read_block(pgno, page)?,
            _ => {
                let reason = format!("its flags {flags:#x} are unknown; a newer program may have written it");
                return Err(malformed(Part::Page(pgno), begin, reason));
            }
        }
        self.source.checksum.update(page);
        if self.header.has_checksums() && self.header.is_snapshot() {
            self.database = checksum::toggle(self.database, checksum::page(pgno, page));
        }
        self.expected.push(&Entry::new(pgno, begin, self.source.offset - begin));
        self.last = pgno;
        self.pages += 1;
        Ok(Some(pgno))
    }

    fn read_block(&mut self, pgno: u32, page: &mut [u8]) -> Result<(), Error> {
        let part = Part::Page(pgno);
        let mut length = [0; 4];
        self.source.fill(part, &mut length)?;
        self.source.checksum.update(&length);
        let length = u32::from_be_bytes(length) as usize;
        let begin = self.source.offset;
        let Some(block) = self.block.get_mut(..length) else {
            return Err(malformed(part, begin, format!("it claims {length} bytes, more than a page can need")));
        };
        self.source.fill(part, block)?;
        let wrong = |reason: String| malformed(part, begin, reason);
        let filled = lz4_flex::block::decompress_into(block, page).map_err(|error| wrong(error.to_string()))?;
        if filled != page.len() {
            return Err(wrong(format!("it holds {filled} bytes, not a page of {}", page.len())));
        }
        Ok(())
    }

    fn read_frame(&mut self, pgno: u32, page: &mut [u8]) -> Result<(), Error> {
        let part = Part::Page(pgno);
        let begin = self.source.offset;
        let source = &mut self.source;
        let read = |bytes: &mut [u8]| source.fill(part, bytes);
        frame::read(read, |reason| malformed(part, begin, reason), &mut self.block, page)
    }

    /// Reads what is left and checks the index, the checksums and that nothing follows.
    pub fn finish(mut self) -> Result<Trailer, Error> {
        let mut page = Vec::new();
        while self.next_page(&mut page)?.is_some() {}
        self.check_index()?;
        let mut bytes = [0; TRAILER_BYTES];
        let begin = self.source.offset;
        self.source.fill(Part::Trailer, &mut bytes)?;
        let (post_apply, file_checksum) = bytes.split_at(TRAILER_BYTES / 2);
        self.source.checksum.update(post_apply);
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
        let trailer = Trailer { post_apply: number(post_apply), file_checksum: number(file_checksum) };
        let computed = self.source.checksum.value();
        if trailer.file_checksum != computed {
            return Err(Error::Checksum { part: Part::Trailer, stored: trailer.file_checksum, computed });
        }
        if !self.header.has_checksums() && trailer.post_apply != 0 {
            let reason = "it has a post-apply checksum, and a flag that says there is none".to_owned();
            return Err(malformed(Part::Trailer, begin, reason));
        }
        if self.header.has_checksums() && self.header.is_snapshot() && trailer.post_apply != self.database {
            return Err(Error::Checksum { part: Part::Pages, stored: trailer.post_apply, computed: self.database });
        }
        match self.source.fill(Part::Trailer, &mut [0]) {
            Err(Error::Truncated { .. }) => Ok(trailer),
            Err(error) => Err(error),
            Ok(()) => Err(malformed(Part::Trailer, self.source.offset - 1, "bytes follow it".to_owned())),
        }
    }

    fn check_index(&mut self) -> Result<(), Error> {
        let begin = self.source.offset;
        let (length, wanted) = std::mem::replace(&mut self.expected, Expected::new()).finish();
        let mut found = checksum::Running::new();
        let mut left = length;
        while left > 0 {
            // The room for a block is free, the pages being read.
            let piece = self.block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let piece = &mut self.block[..piece];
            self.source.fill(Part::Index, piece)?;
            self.source.checksum.update(piece);
            found.update(piece);
            left -= piece.len() as u64;
        }
        let mut stored = [0; 8];
        self.source.fill(Part::Index, &mut stored)?;
        self.source.checksum.update(&stored);
        let stored = u64::from_be_bytes(stored);
        if found.value() != wanted || stored != length {
            let reason = format!("it does not list the {} pages of {length} bytes before it", self.pages);
            return Err(malformed(Part::Index, begin, reason));
        }
        Ok(())
    }
}

impl<R: Read> Source<R> {
    fn fill(&mut self, part: Part, bytes: &mut [u8]) -> Result<(), Error> {
        let mut filled = 0;
        while filled < bytes.len() {
            match self.reader.read(&mut bytes[filled..]) {
                Ok(0) => return Err(Error::Truncated { part, offset: self.offset }),
                Ok(read) => {
                    filled += read;
                    self.offset += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::Read { offset: self.offset, source }),
            }
        }
        Ok(())
    }
}

fn malformed(part: Part, offset: u64, reason: String) -> Error {
    Error::Malformed { part, offset, reason }
}
