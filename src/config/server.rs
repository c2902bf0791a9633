//! `[server]`: where hearth listens, and under which names.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use url::{Host, Origin, Url};

use super::table::{Item, Section};

/// Where to listen and whom to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub bind: Bind,
    pub port: u16,
    /// Host names that are answered beside the machine's own
    pub allowed_hosts: Vec<Host>,
    /// Origins of web pages that may call
    pub allowed_origins: Vec<Origin>,
    /// Whether every interface may be listened on
    pub insecure_bind: bool,
}

/// The interface to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bind {
    Loopback,
    Tailnet,
    Address(IpAddr),
}

pub(super) const KEYS: &[&str] = &["bind", "port", "allowed_hosts", "allowed_origins", "insecure_bind"];

impl Default for Server {
    fn default() -> Server {
        Server {
            bind: Bind::Loopback,
            port: 8080,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            insecure_bind: false,
        }
    }
}

impl Server {
    /// Listens at `address` instead, under the same rule against listening everywhere.
    pub fn with_listen(mut self, address: SocketAddr) -> Result<Server, String> {
        check_bind(address.ip(), self.insecure_bind)?;
        self.bind = Bind::Address(address.ip());
        self.port = address.port();
        Ok(self)
    }

    /// The address to listen on; none while it is for the tailnet to say.
    pub fn listen_address(&self) -> Option<SocketAddr> {
        let ip = match self.bind {
            Bind::Loopback => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Bind::Address(ip) => ip,
            Bind::Tailnet => return None,
        };
        Some(SocketAddr::new(ip, self.port))
    }

    pub(super) fn read(section: &Section<'_>) -> Server {
        let default = Server::default();
        let insecure_bind = section.boolean("insecure_bind", default.insecure_bind);
        Server {
            bind: section.get("bind").and_then(|item| bind(&item, insecure_bind)).unwrap_or(default.bind),
            port: section.integer("port", 1..=u16::MAX.into(), default.port),
            allowed_hosts: section.items("allowed_hosts").iter().filter_map(host).collect(),
            allowed_origins: section.items("allowed_origins").iter().filter_map(origin).collect(),
            insecure_bind,
        }
    }
}

/// Refuses to listen on every interface, which opens the appliance to guests, containers and port forwards.
pub fn check_bind(ip: IpAddr, insecure_bind: bool) -> Result<(), String> {
    if !ip.to_canonical().is_unspecified() || insecure_bind {
        return Ok(());
    }
    Err(format!(
        "{ip} listens on every interface, also those of guests and containers; \
         write \"tailnet\", \"loopback\" or the one address to listen on, \
         or set `server.insecure_bind = true` if this is meant"
    ))
}

fn bind(item: &Item<'_>, insecure_bind: bool) -> Option<Bind> {
    let ip = match item.text()? {
        "loopback" => return Some(Bind::Loopback),
        "tailnet" => return Some(Bind::Tailnet),
        "*" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        _ => item.parsed::<IpAddr>("\"tailnet\", \"loopback\" or an IP address without a port")?,
    };
    match check_bind(ip, insecure_bind) {
        Ok(()) => Some(Bind::Address(ip)),
        Err(reason) => {
            item.wrong(format_args!("is refused: {reason}"));
            None
        }
    }
}

fn host(item: &Item<'_>) -> Option<Host> {
    let text = item.word()?;
    if text.contains('*') {
        item.wrong("must name one host each, since a pattern would let in names that others control");
        return None;
    }
    let bare = text.strip_suffix('.').unwrap_or(text);
    // An IPv6 address is written here as it is elsewhere, without brackets.
    let parsed = match bare.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => Ok(Host::Ipv4(ip)),
        Ok(IpAddr::V6(ip)) => Ok(Host::Ipv6(ip)),
        Err(_) => Host::parse(bare),
    };
    if parsed.is_err() {
        item.wrong(format_args!(
            "must be a host name such as \"hearth.example.org\", without scheme, port or path, not {}",
            item.shown()
        ));
    }
    parsed.ok()
}

fn origin(item: &Item<'_>) -> Option<Origin> {
    let text = item.word()?;
    let url = Url::parse(text).ok().filter(|url| {
        let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        matches!(url.scheme(), "http" | "https") && is_bare && !text.contains(['*', '@'])
    });
    if url.is_none() {
        item.wrong(format_args!(
            "must be an origin such as \"https://hearth.example.org\", without path, not {}",
            item.shown()
        ));
    }
    Some(url?.origin())
}
