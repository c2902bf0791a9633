//! What is wrong in a configuration file: all of it, each with its place and what to write instead.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    pub file: PathBuf,
    pub line: usize,
    pub column: usize,
    /// The key it is about, such as `access.rule[0].level`; empty for bad syntax
    pub key: String,
    pub message: String,
}

/// Everything that is wrong, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

/// Where mistakes are noted while a file is read.
pub(super) struct Notes<'a> {
    file: &'a Path,
    text: &'a str,
    found: RefCell<Vec<Mistake>>,
}

impl Mistakes {
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.0.iter()
    }
}

impl std::error::Error for Mistakes {}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            if index != 0 {
                f.write_str("\n")?;
            }
            write!(f, "{mistake}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file.display(), self.line, self.column, self.message)
    }
}

impl<'a> Notes<'a> {
    pub fn new(file: &'a Path, text: &'a str) -> Notes<'a> {
        Notes { file, text, found: RefCell::default() }
    }

    pub fn add(&self, key: &str, span: Range<usize>, message: String) {
        let (line, column) = place(self.text, span.start);
        self.found.borrow_mut().push(Mistake {
            file: self.file.to_owned(),
            line,
            column,
            key: key.to_owned(),
            message,
        });
    }

    /// Fails if anything was noted. What else is wrong with a line of bad syntax is only a consequence.
    pub fn finish(self) -> Result<(), Mistakes> {
        let mut found = self.found.into_inner();
        let bad_lines: Vec<usize> =
            found.iter().filter(|mistake| mistake.key.is_empty()).map(|mistake| mistake.line).collect();
        found.retain(|mistake| mistake.key.is_empty() || !bad_lines.contains(&mistake.line));
        found.sort_by_key(|mistake| (mistake.line, mistake.column));
        if found.is_empty() { Ok(()) } else { Err(Mistakes(found)) }
    }
}

/// Line and column of a byte, both from one; columns count characters.
fn place(text: &str, at: usize) -> (usize, usize) {
    let (mut line, mut column) = (1, 1);
    for (_, character) in text.char_indices().take_while(|(index, _)| *index < at) {
        if character == '\n' {
            (line, column) = (line + 1, 1);
        } else {
            column += 1;
        }
    }
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let text = "a\näö = 1\n";
        assert_eq!(place(text, 0), (1, 1));
        assert_eq!(place(text, 2), (2, 1));
        assert_eq!(place(text, text.find('=').unwrap()), (2, 4));
        assert_eq!(place(text, text.len() + 9), (3, 1));
    }
}
