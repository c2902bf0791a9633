//! What an import did, or would do.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// Lines of one kind that are shown to a person; the JSON form has all of them.
const SHOWN: usize = 20;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// False after a dry run.
    pub written: bool,
    pub threads: Counts,
    /// Without the first post of each thread, which comes with it.
    pub posts: Counts,
    /// Threads whose number was taken.
    pub renumbered_threads: Vec<Renumbered>,
    pub renumbered_posts: Vec<Renumbered>,
    pub problems: Vec<Problem>,
    /// By table, columns that have no place here and were left behind.
    pub extra_columns: BTreeMap<String, Vec<String>>,
    pub other_tables: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub read: usize,
    pub imported: usize,
    /// Came over with an earlier import.
    pub known: usize,
    pub skipped: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Renumbered {
    pub old: i64,
    pub new: i64,
}

/// A row that could not come over as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub table: &'static str,
    pub id: i64,
    pub what: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.written { "imported" } else { "would import" };
        writeln!(f, "{verb} {} threads and {} posts", self.threads.imported, self.posts.imported)?;
        for (name, counts) in [("threads", self.threads), ("posts", self.posts)] {
            if counts.known != 0 || counts.skipped != 0 {
                writeln!(
                    f,
                    "of {} {name} in the file, {} came over before and {} are left out",
                    counts.read, counts.known, counts.skipped
                )?;
            }
        }
        if !self.renumbered_posts.is_empty() {
            let first = self.renumbered_posts[0];
            writeln!(f, "posts are numbered anew (post {} is {}); the JSON report lists all", first.old, first.new)?;
        }
        let moved = self.renumbered_threads.iter().map(|moved| format!("thread {} is {}", moved.old, moved.new));
        list(f, "threads whose number was taken", moved)?;
        let problems =
            self.problems.iter().map(|problem| format!("{} {}: {}", problem.table, problem.id, problem.what));
        list(f, "rows that could not come over as they were", problems)?;
        let extra = self.extra_columns.iter().map(|(table, columns)| format!("{table}: {}", columns.join(", ")));
        list(f, "columns left behind", extra)?;
        list(f, "tables left behind", self.other_tables.iter().cloned())?;
        Ok(())
    }
}

fn list(f: &mut fmt::Formatter<'_>, heading: &str, lines: impl ExactSizeIterator<Item = String>) -> fmt::Result {
    let all = lines.len();
    if all == 0 {
        return Ok(());
    }
    writeln!(f, "{heading}: {all}")?;
    for line in lines.take(SHOWN) {
        writeln!(f, "  {line}")?;
    }
    if SHOWN < all {
        writeln!(f, "  and {} more", all - SHOWN)?;
    }
    Ok(())
}
