//! Where the appliance may connect on behalf of a caller: the guard against requests into itself.
//!
//! Private networks are allowed, since a home lab lives there. What is vetted is the address that
//! a connection is made to, so every spelling of a host ends here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use url::Url;

/// What is allowed beyond, and denied beside, the fixed ranges.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Whether this machine's loopback may be reached
    pub allow_loopback: bool,
    /// Where the appliance itself listens; never reached, so that no caller borrows its identity
    pub own_addresses: Vec<SocketAddr>,
    /// Ranges in which loopback, link-local and Docker's bridge are allowed
    pub allow: Vec<IpNet>,
}

/// Why an address or URL is not connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    #[error("only http and https URLs are checked")]
    Scheme,
    #[error("a URL must not carry a user name or password")]
    UserInfo,
    #[error("the URL names no host")]
    NoHost,
    #[error("{0} is a loopback address; `health.allow_loopback = true` allows those")]
    Loopback(IpAddr),
    #[error("{0} is a link-local address; list its range in `health.allow` if it is meant")]
    LinkLocal(IpAddr),
    #[error("{0} is on Docker's default bridge; list its range in `health.allow` if it is meant")]
    DockerBridge(IpAddr),
    #[error("{0} stands for no host")]
    Unspecified(IpAddr),
    #[error("{0} is a multicast address")]
    Multicast(IpAddr),
    #[error("{0} is a broadcast or reserved address")]
    Reserved(IpAddr),
    #[error("{0} is a metadata service, which hands out credentials")]
    Metadata(IpAddr),
    #[error("{0} is Tailscale's own service address")]
    Tailscale(IpAddr),
    #[error("{0} is where hearth itself listens")]
    Own(SocketAddr),
}

const METADATA: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254)),
];

const TAILSCALE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 100)),
    IpAddr::V6(Ipv6Addr::new(0xfd7a, 0x115c, 0xa1e0, 0, 0, 0, 0, 0x53)),
];

/// Whether a URL is of a form that may be checked at all; its addresses are vetted once they are known.
pub fn vet_url(url: &Url) -> Result<(), Refusal> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Refusal::Scheme);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refusal::UserInfo);
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(Refusal::NoHost);
    }
    Ok(())
}

/// Whether a connection to `address` may be made.
pub fn vet(address: SocketAddr, policy: &Policy) -> Result<(), Refusal> {
    for ip in faces(address.ip()) {
        vet_ip(ip, policy)?;
        let face = SocketAddr::new(ip, address.port());
        if policy.own_addresses.iter().any(|own| own.port() == face.port() && own.ip().to_canonical() == ip) {
            return Err(Refusal::Own(face));
        }
    }
    Ok(())
}

fn vet_ip(ip: IpAddr, policy: &Policy) -> Result<(), Refusal> {
    if METADATA.contains(&ip) {
        return Err(Refusal::Metadata(ip));
    }
    if TAILSCALE.contains(&ip) {
        return Err(Refusal::Tailscale(ip));
    }
    if is_unspecified(ip) {
        return Err(Refusal::Unspecified(ip));
    }
    if ip.is_multicast() {
        return Err(Refusal::Multicast(ip));
    }
    if is_reserved(ip) {
        return Err(Refusal::Reserved(ip));
    }
    if policy.allow.iter().any(|range| range.contains(&ip)) {
        return Ok(());
    }
    if ip.is_loopback() && !policy.allow_loopback {
        return Err(Refusal::Loopback(ip));
    }
    if is_link_local(ip) {
        return Err(Refusal::LinkLocal(ip));
    }
    if is_docker_bridge(ip) {
        return Err(Refusal::DockerBridge(ip));
    }
    Ok(())
}

/// All of 0.0.0.0/8: systems differ in where they send it.
fn is_unspecified(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets()[0] == 0,
        IpAddr::V6(ip) => ip.is_unspecified(),
    }
}

/// 240.0.0.0/4, which ends in the broadcast address.
fn is_reserved(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.octets()[0] >= 240)
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

fn is_docker_bridge(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.octets()[..2] == [172, 17])
}

/// The address itself and the IPv4 addresses that a kernel or a gateway may turn it into.
fn faces(ip: IpAddr) -> Vec<IpAddr> {
    let IpAddr::V6(v6) = ip else {
        return vec![ip];
    };
    let octets = v6.octets();
    let embedded = |at: [usize; 4]| IpAddr::V4(Ipv4Addr::from(at.map(|index| octets[index])));
    let inverted = |at: [usize; 4]| IpAddr::V4(Ipv4Addr::from(at.map(|index| !octets[index])));
    const LAST: [usize; 4] = [12, 13, 14, 15];
    match v6.segments() {
        // A mapped address is the IPv4 address.
        [0, 0, 0, 0, 0, 0xffff, ..] => vec![embedded(LAST)],
        // `::` and `::1` are addresses of their own; the rest of ::/96 is IPv4-compatible.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => vec![ip],
        [0, 0, 0, 0, 0, 0, ..] => vec![ip, embedded(LAST)],
        // IPv4-translated (SIIT).
        [0, 0, 0, 0, 0xffff, 0, ..] => vec![ip, embedded(LAST)],
        // NAT64: the well-known prefix, and the local one with its two usual layouts (RFC 6052).
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => vec![ip, embedded(LAST)],
        [0x64, 0xff9b, 1, ..] => vec![ip, embedded(LAST), embedded([6, 7, 9, 10])],
        // 6to4.
        [0x2002, ..] => vec![ip, embedded([2, 3, 4, 5])],
        // Teredo: server, and client with its bits inverted.
        [0x2001, 0, ..] => vec![ip, embedded([4, 5, 6, 7]), inverted(LAST)],
        _ => vec![ip],
    }
}

#[cfg(test)]
mod tests {
    use url::Host;

    use super::*;

    fn vet_text(text: &str) -> Result<(), Refusal> {
        let url = Url::parse(text).unwrap();
        vet_url(&url)?;
        let ip = match url.host().unwrap() {
            Host::Ipv4(ip) => IpAddr::V4(ip),
            Host::Ipv6(ip) => IpAddr::V6(ip),
            Host::Domain(name) => panic!("{name} would be resolved"),
        };
        vet(SocketAddr::new(ip, url.port_or_known_default().unwrap()), &Policy::default())
    }

    #[test]
    fn forbidden_addresses_are_refused_in_every_spelling() {
        for text in [
            "http://127.0.0.1",
            "http://127.1",
            "http://127.255.255.254:8080",
            "http://2130706433",
            "http://0x7f000001",
            "http://0177.0.0.1",
            "http://0x7f.1",
            "http://017700000001",
            "http://127.0.0.1.",
            "http://\u{ff11}27.0.0.1",
            "http://0",
            "http://0.0.0.0",
            "http://0.1.2.3",
            "http://[::]",
            "http://[::1]",
            "http://[0:0:0:0:0:0:0:1]",
            "http://[::ffff:127.0.0.1]",
            "http://[::ffff:7f00:1]",
            "http://[::127.0.0.1]",
            "http://[::ffff:0:127.0.0.1]",
            "http://[64:ff9b::127.0.0.1]",
            "http://[64:ff9b:1::127.0.0.1]",
            "http://[64:ff9b:1:7f00:0:100::]",
            "http://[2002:7f00:1::]",
            "http://[2002:a9fe:a9fe::1]",
            "http://[2001:0:7f00:1::]",
            "http://[2001:0:808:808::80ff:fffe]",
            "http://169.254.0.1",
            "http://[fe80::1]",
            "http://[febf::1]",
            "http://169.254.169.254/latest/meta-data",
            "http://2852039166",
            "http://0xa9fea9fe",
            "http://0251.0376.0251.0376",
            "http://[::ffff:169.254.169.254]",
            "http://[64:ff9b::a9fe:a9fe]",
            "http://[fd00:ec2::254]",
            "http://100.100.100.100",
            "http://[::ffff:100.100.100.100]",
            "http://[fd7a:115c:a1e0::53]",
            "http://224.0.0.1",
            "http://239.255.255.250",
            "http://[ff02::1]",
            "http://255.255.255.255",
            "http://240.0.0.1",
            "http://172.17.0.1",
            "http://[::ffff:172.17.0.2]",
        ] {
            assert!(vet_text(text).is_err(), "{text} was let through");
        }
    }

    #[test]
    fn the_networks_of_a_home_lab_are_allowed() {
        for text in [
            "http://10.0.0.1",
            "http://192.168.1.10:8123",
            "http://172.16.0.1",
            "http://172.18.0.2",
            "http://172.31.255.254",
            "https://100.64.0.7",
            "https://100.100.100.101",
            "http://[fd7a:115c:a1e0::1]",
            "http://[fd00::10]",
            "http://[::ffff:192.168.1.10]",
            "http://[64:ff9b::192.168.1.10]",
            "http://1.1.1.1",
            "http://[2606:4700::1111]",
        ] {
            assert_eq!(vet_text(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn the_reason_says_which_kind_of_address_it_is() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(vet_text("http://[::ffff:7f00:1]"), Err(Refusal::Loopback(ip("127.0.0.1"))));
        assert_eq!(vet_text("http://0xa9fea9fe"), Err(Refusal::Metadata(ip("169.254.169.254"))));
        assert_eq!(vet_text("http://172.17.9.9"), Err(Refusal::DockerBridge(ip("172.17.9.9"))));
    }

    #[test]
    fn only_plain_http_urls_are_checked() {
        for (text, refusal) in [
            ("file:///etc/passwd", Refusal::Scheme),
            ("gopher://10.0.0.1", Refusal::Scheme),
            ("unix:/run/docker.sock", Refusal::Scheme),
            ("ftp://10.0.0.1", Refusal::Scheme),
            ("http://admin@10.0.0.1", Refusal::UserInfo),
            ("http://:secret@10.0.0.1", Refusal::UserInfo),
            ("http://10.0.0.1@127.0.0.1", Refusal::UserInfo),
        ] {
            assert_eq!(vet_url(&Url::parse(text).unwrap()), Err(refusal), "{text}");
        }
    }

    #[test]
    fn own_listeners_stay_out_of_reach_even_where_their_range_is_allowed() {
        let policy = Policy {
            allow_loopback: true,
            own_addresses: vec!["127.0.0.1:8080".parse().unwrap(), "[::ffff:10.0.0.5]:8080".parse().unwrap()],
            allow: vec!["10.0.0.0/8".parse().unwrap()],
        };
        for own in ["127.0.0.1:8080", "[::ffff:127.0.0.1]:8080", "10.0.0.5:8080", "[2002:a00:5::]:8080"] {
            assert!(matches!(vet(own.parse().unwrap(), &policy), Err(Refusal::Own(_))), "{own}");
        }
        for other in ["127.0.0.1:8081", "10.0.0.6:8080"] {
            assert_eq!(vet(other.parse().unwrap(), &policy), Ok(()), "{other}");
        }
    }

    #[test]
    fn a_listed_range_opens_the_bridge_but_never_what_hands_out_credentials() {
        let policy = Policy { allow: vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()], ..Policy::default() };
        for allowed in ["172.17.0.2:80", "169.254.7.7:80", "127.0.0.1:80", "[fe80::1]:80"] {
            assert_eq!(vet(allowed.parse().unwrap(), &policy), Ok(()), "{allowed}");
        }
        for denied in ["169.254.169.254:80", "100.100.100.100:80", "[fd7a:115c:a1e0::53]:80", "0.0.0.0:80", "[::]:80"] {
            assert!(vet(denied.parse().unwrap(), &policy).is_err(), "{denied}");
        }
    }
}
