//! Reads a forum.db as it is: any column may be missing, extra, of another type or empty.
//!
//! The file is opened for reading only and nothing in it is trusted.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row};

use crate::clock::Timestamp;
use crate::error::{Code, Error, Result};
use crate::store::connection::APPLICATION_ID;

/// Rows of one table that are held in memory.
const ROWS_MAX: usize = 1_000_000;

const THREAD_COLUMNS: &[&str] = &["id", "title", "body", "author", "created_at", "updated_at"];
const POST_COLUMNS: &[&str] = &["id", "thread_id", "body", "author", "quote_post_id", "created_at"];

/// A forum.db in memory, in the order of its numbers.
pub(super) struct Source {
    pub threads: Vec<SourceThread>,
    pub posts: Vec<SourcePost>,
    /// By table, the columns that have no place here.
    pub extra_columns: BTreeMap<String, Vec<String>>,
    pub other_tables: Vec<String>,
}

pub(super) struct SourceThread {
    pub id: i64,
    pub title: String,
    pub body: String,
    pub author: String,
    pub created_at: Moment,
    pub updated_at: Moment,
}

pub(super) struct SourcePost {
    pub id: i64,
    pub thread_id: i64,
    pub body: String,
    pub author: String,
    pub quote_post_id: Option<i64>,
    pub created_at: Moment,
}

/// A time as it stands there.
pub(super) struct Moment {
    pub text: String,
    /// `None` if it says nothing that is a time.
    pub at: Option<Timestamp>,
}

pub(super) fn read(path: &Path) -> Result<Source> {
    let unreadable = |error: rusqlite::Error| {
        Error::new(Code::InvalidInput, format_args!("cannot read {} as a forum.db: {error}", path.display()))
            .with_source(error)
    };
    let mut conn = open(path).map_err(unreadable)?;
    // One snapshot, also while the other forum goes on writing.
    let tx = conn.transaction().map_err(unreadable)?;
    let application: i32 = tx.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(unreadable)?;
    if application == APPLICATION_ID {
        return Err(Error::new(Code::InvalidInput, format_args!("{} is a database of hearth", path.display())));
    }
    let mut tables = tables(&tx).map_err(unreadable)?;
    let threads = Table::take(&mut tables, "threads", THREAD_COLUMNS, path)?;
    let posts = Table::take(&mut tables, "posts", POST_COLUMNS, path)?;
    posts.needs(&["thread_id"], path)?;

    let mut source = Source {
        threads: threads.rows(&tx, read_thread).map_err(unreadable)?,
        posts: posts.rows(&tx, read_post).map_err(unreadable)?,
        extra_columns: BTreeMap::new(),
        other_tables: tables.into_keys().filter(|name| !name.starts_with("sqlite_")).collect(),
    };
    for rows in [source.threads.len(), source.posts.len()] {
        if ROWS_MAX < rows {
            return Err(Error::new(Code::TooLarge, format_args!("{} has over {ROWS_MAX} rows", path.display())));
        }
    }
    for table in [threads, posts] {
        if !table.extra.is_empty() {
            source.extra_columns.insert(table.name.to_owned(), table.extra);
        }
    }
    Ok(source)
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let beside = |ending: &str| {
        let mut name = OsString::from(path);
        name.push(ending);
        std::fs::metadata(PathBuf::from(name)).is_ok_and(|file| file.len() != 0)
    };
    // Rows that are still in the log, or a change half made, are seen by the usual road only;
    // a file at rest is opened as one that nobody changes, which leaves no trace beside it.
    let at_rest = !beside("-wal") && !beside("-journal");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = if at_rest {
        Connection::open_with_flags(immutable(path), flags | OpenFlags::SQLITE_OPEN_URI)?
    } else {
        Connection::open_with_flags(path, flags)?
    };
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    conn.pragma_update(None, "query_only", true)?;
    conn.pragma_update(None, "cell_size_check", true)?;
    conn.pragma_update(None, "mmap_size", 0)?;
    Ok(conn)
}

/// The path as SQLite's URI, byte by byte, whatever letters it has.
fn immutable(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            other => uri.push_str(&format!("%{other:02x}")),
        }
    }
    uri.push_str("?immutable=1");
    uri
}

/// Every table with its columns, in lower case.
fn tables(conn: &Connection) -> rusqlite::Result<BTreeMap<String, Vec<String>>> {
    let mut statement = conn.prepare(
        "select lower(t.name), lower(c.name) from sqlite_schema t, pragma_table_info(t.name) c
         where t.type = 'table' order by 1, c.cid",
    )?;
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        tables.entry(row.get(0)?).or_default().push(row.get(1)?);
    }
    Ok(tables)
}

struct Table {
    name: &'static str,
    columns: &'static [&'static str],
    /// Which of `columns` are there.
    present: Vec<bool>,
    extra: Vec<String>,
}

impl Table {
    fn take(
        tables: &mut BTreeMap<String, Vec<String>>,
        name: &'static str,
        columns: &'static [&'static str],
        path: &Path,
    ) -> Result<Table> {
        let Some(there) = tables.remove(name) else {
            return Err(Error::new(
                Code::InvalidInput,
                format_args!("{} has no table `{name}`, so it is no forum.db", path.display()),
            ));
        };
        let present = columns.iter().map(|column| there.iter().any(|name| name == column)).collect();
        let extra = there.into_iter().filter(|column| !columns.contains(&column.as_str())).collect();
        let table = Table { name, columns, present, extra };
        table.needs(&["id"], path)?;
        Ok(table)
    }

    fn needs(&self, columns: &[&str], path: &Path) -> Result<()> {
        for (column, present) in self.columns.iter().zip(&self.present) {
            if columns.contains(column) && !present {
                return Err(Error::new(
                    Code::InvalidInput,
                    format_args!("{}: the table `{}` has no column `{column}`", path.display(), self.name),
                ));
            }
        }
        Ok(())
    }

    /// All rows by number; a missing column reads as null. The names are our own constants.
    fn rows<T>(&self, conn: &Connection, read: fn(&Row<'_>) -> rusqlite::Result<T>) -> rusqlite::Result<Vec<T>> {
        let selected: Vec<&str> = self
            .columns
            .iter()
            .zip(&self.present)
            .map(|(column, present)| if *present { *column } else { "null" })
            .collect();
        let sql = ["select ", &selected.join(", "), " from ", self.name, " order by id"].concat();
        let mut statement = conn.prepare(&sql)?;
        statement.query_map([], read)?.take(ROWS_MAX + 1).collect()
    }
}

fn read_thread(row: &Row<'_>) -> rusqlite::Result<SourceThread> {
    Ok(SourceThread {
        id: integer(row, 0)?.unwrap_or(0),
        title: text(row, 1)?,
        body: text(row, 2)?,
        author: text(row, 3)?,
        created_at: moment(row, 4)?,
        updated_at: moment(row, 5)?,
    })
}

fn read_post(row: &Row<'_>) -> rusqlite::Result<SourcePost> {
    Ok(SourcePost {
        id: integer(row, 0)?.unwrap_or(0),
        thread_id: integer(row, 1)?.unwrap_or(0),
        body: text(row, 2)?,
        author: text(row, 3)?,
        quote_post_id: integer(row, 4)?,
        created_at: moment(row, 5)?,
    })
}

fn integer(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<i64>> {
    Ok(match row.get_ref(index)? {
        ValueRef::Integer(number) => Some(number),
        ValueRef::Text(text) => std::str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok()),
        _ => None,
    })
}

/// Whatever stands there as a text without NUL.
fn text(row: &Row<'_>, index: usize) -> rusqlite::Result<String> {
    let text = match row.get_ref(index)? {
        ValueRef::Null => String::new(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
    };
    Ok(if text.contains('\0') { text.replace('\0', "") } else { text })
}

fn moment(row: &Row<'_>, index: usize) -> rusqlite::Result<Moment> {
    let text = text(row, index)?;
    let at = text.trim().parse().ok();
    Ok(Moment { text, at })
}
