//! `hearth.toml`, parsed into types that cannot be wrong; a file with mistakes is told all of them.

pub mod access;
pub mod approvals;
pub mod duration;
pub mod example;
pub mod health;
pub mod limits;
pub mod log;
pub mod mcp;
pub mod mistake;
pub mod server;
pub mod suggest;
mod table;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use self::access::Access;
use self::approvals::Approvals;
use self::health::Health;
use self::limits::Limits;
use self::log::Log;
use self::mcp::Mcp;
use self::mistake::{Mistakes, Notes};
use self::server::Server;
use self::table::Section;

/// The configuration. What the file leaves out is as in `Config::default()`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    pub server: Server,
    pub access: Access,
    pub limits: Limits,
    pub mcp: Mcp,
    pub log: Log,
    pub health: Health,
    pub approvals: Approvals,
}

/// Why there is no configuration to work with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read the configuration file {}", .file.display())]
    Read { file: PathBuf, source: io::Error },
    #[error("the configuration file {} has more than {FILE_BYTES} bytes", .file.display())]
    TooLarge { file: PathBuf },
    #[error("{0}")]
    Mistakes(Mistakes),
}

/// What the file is called in the data folder.
pub const FILE: &str = "hearth.toml";
const FILE_BYTES: u64 = 1024 * 1024;

const TABLES: &[&str] = &["server", "access", "limits", "mcp", "log", "health", "approvals"];
/// The keys of each of `TABLES`, in the same order.
const KEYS: [&[&str]; 7] =
    [server::KEYS, access::KEYS, limits::KEYS, mcp::KEYS, log::KEYS, health::KEYS, approvals::KEYS];

impl Config {
    /// Reads `file`, which has to be there, or else the one in the data folder if there is one.
    pub fn load(file: Option<&Path>, data: &Path, toolsets: &[&str]) -> Result<Config, Error> {
        let (file, is_required) = match file {
            Some(file) => (file.to_owned(), true),
            None => (data.join(FILE), false),
        };
        let text = match read(&file) {
            Ok(text) => text,
            Err(Error::Read { source, .. }) if !is_required && source.kind() == io::ErrorKind::NotFound => {
                return Ok(Config::default());
            }
            Err(error) => return Err(error),
        };
        Config::parse(&text, &file, toolsets).map_err(Error::Mistakes)
    }

    /// Parses the text of `file`, whose name is for the messages; `toolsets` are those that rules may name.
    pub fn parse(text: &str, file: &Path, toolsets: &[&str]) -> Result<Config, Mistakes> {
        let notes = Notes::new(file, text);
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            notes.add("", error.span().unwrap_or_default(), format!("not proper TOML: {}", error.message()));
        }
        let config = Config::read(&Section::root(&table, TABLES, &notes), toolsets);
        notes.finish()?;
        Ok(config)
    }

    fn read(root: &Section<'_>, toolsets: &[&str]) -> Config {
        Config {
            server: Server::read(&root.section("server", server::KEYS)),
            access: Access::read(&root.section("access", access::KEYS), toolsets),
            limits: Limits::read(&root.section("limits", limits::KEYS)),
            mcp: Mcp::read(&root.section("mcp", mcp::KEYS)),
            log: Log::read(&root.section("log", log::KEYS)),
            health: Health::read(&root.section("health", health::KEYS)),
            approvals: Approvals::read(&root.section("approvals", approvals::KEYS)),
        }
    }
}

fn read(file: &Path) -> Result<String, Error> {
    let failed = |source| Error::Read { file: file.to_owned(), source };
    let mut text = String::new();
    File::open(file).map_err(failed)?.take(FILE_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if FILE_BYTES < text.len() as u64 {
        return Err(Error::TooLarge { file: file.to_owned() });
    }
    Ok(text)
}

/// The table that a key belongs to, for keys written in another one.
fn section_of(key: &str) -> Option<&'static str> {
    let index = KEYS.iter().position(|keys| keys.contains(&key))?;
    Some(TABLES[index])
}
