//! The command line: commands, options and their help.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::app::Level;
use crate::replica::ltx::Txid;

#[derive(Debug, Parser)]
#[command(
    name = "hearth",
    version,
    about = "The appliance of a home lab: inventory and forum for people and their AI agents",
    after_help = "Examples:
  hearth serve                                   answer on http://127.0.0.1:8080
  hearth call forum_list_threads limit=5         call any tool
  hearth token create --name laptop --level 2    let another machine in
  hearth approve                                 see what waits for your approval"
)]
pub struct Cli {
    #[command(flatten)]
    pub place: Place,
    #[command(subcommand)]
    pub command: Command,
}

/// Where things are.
#[derive(Clone, Debug, Args)]
pub struct Place {
    /// Folder of the database
    #[arg(long, global = true, env = "HEARTH_DATA", default_value = "./hearth-data", value_name = "DIR")]
    pub data: PathBuf,
    /// Configuration file [default: hearth.toml in the data folder, if there is one]
    #[arg(long, global = true, env = "HEARTH_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// File of the root key [default: ~/.config/hearth/root.key]
    #[arg(long, global = true, env = "HEARTH_ROOT_KEY", value_name = "FILE")]
    pub root_key: Option<PathBuf>,
    /// Print JSON on a terminal, too
    #[arg(long, global = true)]
    pub json_out: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server: MCP, REST and the unix socket
    #[command(after_help = "Examples:
  hearth serve
  hearth serve --listen 127.0.0.1:9000 --data /var/lib/hearth")]
    Serve(Serve),
    /// Call a tool and print its answer
    #[command(after_help = "Examples:
  hearth call forum_list_threads
  hearth call forum_create_thread title='Disk swap' body='Done.' tags=nas tags=disks
  hearth call inventory_put_host --json '{\"name\": \"nas\", \"kind\": \"nas\"}'
  hearth call inventory_remove_host name=nas     shows the plan and asks

`hearth tools` lists the tools, and `hearth tools NAME` the fields of one.")]
    Call(Call),
    /// List the tools, or show one
    #[command(after_help = "Examples:
  hearth tools
  hearth tools forum_search")]
    Tools(Tools),
    /// Make, list and revoke bearer tokens
    #[command(subcommand)]
    Token(Token),
    /// Keep secrets sealed: put, list, change, show and remove them
    #[command(subcommand)]
    Credential(Credential),
    /// See to the root key: state, exchange, recovery kit
    #[command(subcommand)]
    Key(Key),
    /// List the calls that wait for approval, or decide one
    #[command(after_help = "Examples:
  hearth approve                 list what waits
  hearth approve ID              approve it
  hearth approve ID --reject")]
    Approve(Approve),
    /// Bring data in from elsewhere
    #[command(subcommand)]
    Import(Import),
    /// Make a database file from a replica, hearth's or Litestream's
    #[command(after_help = "Examples:
  hearth restore -o hearth.db file:///var/backup/hearth
  hearth restore -o hearth.db 's3://bucket/path?endpoint=https://s3.us-west-000.backblazeb2.com'
  hearth restore --dry-run --timestamp '10 minutes ago' file:///var/backup/hearth

An access key is taken from LITESTREAM_ACCESS_KEY_ID and LITESTREAM_SECRET_ACCESS_KEY.")]
    Restore(Restore),
    /// List the snapshots of a replica
    Snapshots(ReplicaPlace),
    /// Look into the LTX files of a replica
    #[command(subcommand)]
    Ltx(Ltx),
    /// Write a commented configuration file and the root key
    #[command(after_help = "Examples:
  hearth init
  hearth init --data /var/lib/hearth --config /etc/hearth.toml")]
    Init,
    /// Speak MCP on standard input and output, for clients that start a program
    #[command(after_help = "Examples:
  claude mcp add hearth -- hearth mcp --data /var/lib/hearth")]
    Mcp,
    /// Print a completion script
    #[command(after_help = "Examples:
  hearth completions bash > ~/.local/share/bash-completion/completions/hearth")]
    Completions { shell: clap_complete::Shell },
}

#[derive(Debug, Args)]
pub struct Serve {
    /// Address to listen on instead of the configured one; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
    /// Address of the replica: file:///folder or s3://bucket/path?endpoint=…&region=…
    #[arg(long, value_name = "URL", env = "HEARTH_REPLICA")]
    pub replica: Option<String>,
}

#[derive(Debug, Args)]
pub struct Call {
    /// Its name, such as forum_search
    pub tool: String,
    /// Fields as `key=value`; repeat a key for a list
    #[arg(value_name = "KEY=VALUE", value_parser = key_value)]
    pub fields: Vec<(String, String)>,
    /// Fields as a JSON object; `-` reads it from standard input
    #[arg(long, value_name = "JSON")]
    pub json: Option<String>,
    /// Approve a destructive call without being asked
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct Tools {
    /// Show this one with its fields
    pub name: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Token {
    /// Make a token and print it alone; it is shown this once
    #[command(after_help = "Examples:
  hearth token create --name laptop --level 1
  hearth token create --name ci --level operate --toolsets inventory --expires 90d")]
    Create(TokenCreate),
    /// List the tokens, without their secrets
    List,
    /// Revoke a token at once, with all that it has open; its name is not given again
    #[command(after_help = "Example:
  hearth token revoke laptop")]
    Revoke { name: String },
}

#[derive(Debug, Args)]
pub struct TokenCreate {
    /// What it is called in the audit log
    #[arg(long)]
    pub name: String,
    /// 1 monitor, 2 operate, 3 configure, 4 manage
    #[arg(long, value_parser = level)]
    pub level: Level,
    /// Only these toolsets
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    pub toolsets: Vec<String>,
    /// How long it holds, such as 90d; for ever if left out
    #[arg(long, value_name = "DURATION")]
    pub expires: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Credential {
    /// List credentials, never what they are
    List {
        /// Only those for this, such as service:plex
        #[arg(long, value_name = "KIND:NAME")]
        target: Option<String>,
        /// Only those of this kind
        #[arg(long)]
        kind: Option<String>,
    },
    /// Seal a secret, or change what it is for; the secret is asked for, or read from standard input
    #[command(after_help = "Examples:
  hearth credential put plex --kind username_password --username admin --target service:plex
  hearth credential put nas-key --kind ssh_key --target host:nas < id_ed25519
  hearth credential put nas-key --kind ssh_key --no-secret     make the key here
  hearth credential put plex --uses http_basic --no-secret     narrow what it is for")]
    Put(CredentialPut),
    /// Show a secret, once you have confirmed it
    #[command(after_help = "Example:
  hearth credential get plex --purpose 'sign in by hand'")]
    Get {
        name: String,
        /// What for; the audit log keeps it
        #[arg(long, value_name = "TEXT")]
        purpose: String,
        /// Confirm it without being asked
        #[arg(long)]
        yes: bool,
    },
    /// Give a credential a new secret; it is asked for, or read from standard input
    #[command(after_help = "Examples:
  hearth credential rotate plex
  hearth credential rotate plex --restore        bring the one before back, within a week
  hearth credential rotate nas-key --no-secret   make a new ssh_key here")]
    Rotate {
        name: String,
        /// Bring the previous secret back
        #[arg(long, conflicts_with = "no_secret")]
        restore: bool,
        /// Ask for none: an ssh_key is made here
        #[arg(long)]
        no_secret: bool,
    },
    /// Remove a credential for good, once you have confirmed it
    Remove {
        name: String,
        /// Confirm it without being asked
        #[arg(long)]
        yes: bool,
    },
    /// List the credentials that expire soon, or have
    Expiring {
        /// How soon [default: 30d]
        #[arg(long, value_name = "DURATION")]
        within: Option<String>,
    },
}

#[derive(Debug, Args)]
pub struct CredentialPut {
    pub name: String,
    /// Needed for a new one: password, username_password, api_key … (`hearth tools credential_put`)
    #[arg(long)]
    pub kind: Option<String>,
    /// User name, in the clear
    #[arg(long)]
    pub username: Option<String>,
    /// host:NAME, vm:NAME or service:NAME; without, it can only be shown
    #[arg(long, value_name = "KIND:NAME")]
    pub target: Option<String>,
    /// What for; as usual for its kind if left out
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    pub uses: Vec<String>,
    /// Origins or host keys that it goes to; a service's own if left out
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    pub pins: Vec<String>,
    /// Least level of who uses it
    #[arg(long, value_parser = level)]
    pub level: Option<Level>,
    /// Header that carries it, for http_header
    #[arg(long)]
    pub header: Option<String>,
    /// How long it holds, such as 90d
    #[arg(long, value_name = "DURATION")]
    pub expires: Option<String>,
    /// Notes, in the clear
    #[arg(long, value_name = "TEXT")]
    pub notes: Option<String>,
    /// Ask for none: make an ssh_key here, or change only what it is for
    #[arg(long)]
    pub no_secret: bool,
}

#[derive(Debug, Subcommand)]
pub enum Key {
    /// Show which root keys the database hangs on
    Status,
    /// Print the recovery kit, for paper
    #[command(after_help = "Example:
  hearth key kit | lp")]
    Kit,
    /// Check a kit, asked for or read from standard input, and open every secret, showing none
    Verify,
    /// Exchange the root key, or go on with an exchange that was cut off
    Rotate,
    /// Open the sealed vault of the running server with its passphrase
    Unlock,
    /// Write the key file anew from a kit, beside a database that is there
    #[command(after_help = "Example:
  hearth key restore --data /var/lib/hearth --root-key /etc/hearth/root.key")]
    Restore,
    /// List what has to be changed when the root key has leaked
    Compromise,
}

#[derive(Debug, Args)]
pub struct Approve {
    /// The approval; none to list those that wait
    pub id: Option<String>,
    /// Reject it instead
    #[arg(long, requires = "id")]
    pub reject: bool,
}

#[derive(Debug, Subcommand)]
pub enum Import {
    /// Read a forum's threads and posts from a file
    #[command(after_help = "Examples:
  hearth import forum forum.db --dry-run
  hearth import forum forum.db")]
    Forum {
        file: PathBuf,
        /// Only say what would be imported
        #[arg(long)]
        dry_run: bool,
    },
}

/// A replica and which of its histories.
#[derive(Debug, Args)]
pub struct ReplicaPlace {
    /// file:///FOLDER or s3://BUCKET/PATH?endpoint=URL&region=NAME
    #[arg(value_name = "REPLICA_URL")]
    pub address: String,
    /// This lineage instead of the one that HEAD.json names
    #[arg(long, value_name = "LINEAGE")]
    pub lineage: Option<String>,
}

#[derive(Debug, Args)]
pub struct Restore {
    #[command(flatten)]
    pub replica: ReplicaPlace,
    /// The file to make; it must not exist
    #[arg(short, long, value_name = "FILE", required_unless_present = "dry_run")]
    pub output: Option<PathBuf>,
    /// As it was before this moment: RFC 3339, or such as \"10 minutes ago\"
    #[arg(long, value_name = "TIME", conflicts_with = "txid")]
    pub timestamp: Option<String>,
    /// As it was after this transaction, in hex
    #[arg(long, value_name = "TXID")]
    pub txid: Option<Txid>,
    /// Only say which files would be taken
    #[arg(long)]
    pub dry_run: bool,
    /// Tell plan, progress and result as a line of JSON each
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Ltx {
    /// List the files of all levels
    List(ReplicaPlace),
    /// Show the header, pages and checksums of one file on this machine
    Dump { file: PathBuf },
    /// Read files of this machine, or all of a folder, and verify every checksum
    Verify {
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE")?;
    if key.is_empty() {
        return Err("must have a key before `=`".to_owned());
    }
    Ok((key.to_owned(), value.to_owned()))
}

fn level(text: &str) -> Result<Level, String> {
    let by_name = || (1..=4).filter_map(Level::from_number).find(|level| level.name() == text);
    let by_number = text.parse().ok().and_then(Level::from_number);
    by_number.or_else(by_name).ok_or_else(|| "must be from 1 to 4, or monitor, operate, configure or manage".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn fields_and_levels_are_read() {
        let cli = Cli::parse_from(["hearth", "call", "x", "--data", "d", "a=1", "a=b=c", "--json", "{}"]);
        let Command::Call(call) = cli.command else { panic!("not a call") };
        assert_eq!(call.fields, [("a".to_owned(), "1".to_owned()), ("a".to_owned(), "b=c".to_owned())]);
        assert_eq!(level("operate"), Ok(Level::Operate));
        assert_eq!(level("4"), Ok(Level::Manage));
        assert!(level("0").is_err() && level("admin").is_err());
    }
}
