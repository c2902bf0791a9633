//! Networks and the addresses that they give away.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};

use futures_util::future::join_all;
use hearth::app::{Caller, Level};
use hearth::error::{Code, Error};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{TestApp, caller};

fn keeper() -> Caller {
    caller("keeper", Level::Configure)
}

async fn ok(app: &TestApp, tool: &str, input: Value) -> Value {
    app.ok(&keeper(), &format!("inventory_{tool}"), input).await
}

async fn err(app: &TestApp, tool: &str, input: Value) -> Error {
    app.err(&keeper(), &format!("inventory_{tool}"), input).await
}

/// Addresses .1 to .14: .1 routes, .8 to .11 are dynamic, .2 is the host's and .3 the VM's.
async fn lan() -> TestApp {
    let app = TestApp::new();
    ok(&app, "put_host", json!({ "name": "nas", "addresses": ["10.0.0.2"] })).await;
    ok(&app, "put_vm", json!({ "name": "plex", "addresses": ["10.0.0.3"] })).await;
    let lan = json!({ "name": "lan", "cidr": "10.0.0.0/28", "gateway": "10.0.0.1", "dns": ["10.0.0.1"],
        "dhcp_from": "10.0.0.8", "dhcp_to": "10.0.0.11" });
    ok(&app, "put_network", lan).await;
    app
}

async fn next(app: &TestApp, network: &str) -> Result<String, Error> {
    let given = app.call(&keeper(), "inventory_allocate_ip", json!({ "network": network })).await?;
    Ok(given["address"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lowest_free_addresses_are_given_until_there_are_none() {
    let app = lan().await;
    assert_eq!(ok(&app, "get_network", json!({ "name": "LAN" })).await["free"], 7);
    for last in [4, 5, 6, 7, 12, 13, 14] {
        assert_eq!(next(&app, "lan").await.unwrap(), format!("10.0.0.{last}"));
    }
    let error = next(&app, "lan").await.unwrap_err();
    assert_eq!(error.code, Code::Conflict);
    let lan = ok(&app, "get_network", json!({ "name": "lan" })).await;
    assert_eq!((&lan["allocated"], &lan["free"]), (&json!(7), &json!(0)));
    assert_eq!(lan["allocations"][0]["address"], "10.0.0.4");
    let released = ok(&app, "release_ip", json!({ "address": "10.0.0.6" })).await;
    assert_eq!(released["network"], "lan");
    assert_eq!(next(&app, "lan").await.unwrap(), "10.0.0.6");
    assert_eq!(err(&app, "release_ip", json!({ "address": "10.0.0.2" })).await.code, Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_address_names_its_holder() {
    let app = lan().await;
    let give = |address: &str| json!({ "network": "lan", "address": address });
    let to = |address: &str, to: &str| json!({ "network": "lan", "address": address, "assigned_to": to });
    for (input, code, told) in [
        (give("10.0.0.2"), Code::Conflict, "host `nas`"),
        (to("10.0.0.3", "host:nas"), Code::Conflict, "vm `plex`"),
        (give("10.0.0.1"), Code::Conflict, "gateway"),
        (give("10.0.0.9"), Code::Conflict, "DHCP range"),
        (give("10.0.0.0"), Code::InvalidInput, "network address"),
        (give("10.0.0.15"), Code::InvalidInput, "broadcast address"),
        (give("10.0.1.1"), Code::InvalidInput, "not in network `lan`"),
        (give("ten"), Code::InvalidInput, "not an IP address"),
        (to("10.0.0.5", "host:nsa"), Code::InvalidInput, "no host `nsa`"),
        (to("10.0.0.5", "nas"), Code::InvalidInput, "`service:NAME`"),
        (json!({ "network": "lna" }), Code::NotFound, "no network `lna`"),
    ] {
        let error = err(&app, "allocate_ip", input.clone()).await;
        assert_eq!(error.code, code, "{input}: {error}");
        assert!(error.message.contains(told), "{input}: {error}");
    }
    let given = ok(&app, "allocate_ip", to("10.0.0.2", "host:NAS")).await;
    assert_eq!((&given["assigned_to"], &given["kind"]), (&json!("host:nas"), &json!("static")));
    let error = err(&app, "allocate_ip", to("10.0.0.2", "vm:plex")).await;
    assert!(error.message.contains("allocated to host:nas"), "{error}");
    let error = err(&app, "put_vm", json!({ "name": "plex", "addresses": ["10.0.0.2"] })).await;
    assert_eq!(error.code, Code::Conflict);

    ok(&app, "allocate_ip", to("10.0.0.5", "vm:plex")).await;
    let error = err(&app, "put_host", json!({ "name": "nas", "addresses": ["10.0.0.5"] })).await;
    assert!(error.message.contains("allocated to vm:plex"), "{error}");
    ok(&app, "put_vm", json!({ "name": "plex", "addresses": ["10.0.0.5"] })).await;
    let lease = json!({ "network": "lan", "address": "10.0.0.9", "kind": "dhcp", "hostname": "phone" });
    ok(&app, "allocate_ip", lease).await;
    ok(&app, "allocate_ip", to("10.0.0.1", "host:nas")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_is_checked_against_itself_and_the_others() {
    let app = lan().await;
    for (input, field, told) in [
        (json!({ "name": "x" }), "cidr", "needs one"),
        (json!({ "name": "x", "cidr": "10.1.0.5/24" }), "cidr", "10.1.0.0/24"),
        (json!({ "name": "x", "cidr": "10.1.0.0" }), "cidr", "not a range"),
        (json!({ "name": "x", "cidr": "10.1.0.0/33" }), "cidr", "not a range"),
        (json!({ "name": "x", "cidr": "::ffff:10.1.0.0/120" }), "cidr", "IPv4"),
        (json!({ "name": "lan", "gateway": "10.0.1.1" }), "gateway", "not in"),
        (json!({ "name": "lan", "gateway": "10.0.0.15" }), "gateway", "first or last"),
        (json!({ "name": "lan", "dhcp_to": "10.0.0.7" }), "dhcp_to", "comes before"),
        (json!({ "name": "lan", "dhcp_to": "" }), "dhcp_to", "needed"),
        (json!({ "name": "lan", "dhcp_to": "10.0.0.200" }), "dhcp_to", "not in"),
        (json!({ "name": "lan", "vlan": 4095 }), "vlan", "4094"),
    ] {
        let error = err(&app, "put_network", input.clone()).await;
        assert_eq!((error.code, error.field()), (Code::InvalidInput, Some(field)), "{input}: {error}");
        assert!(error.message.contains(told), "{input}: {error}");
    }
    for cidr in ["10.0.0.0/8", "10.0.0.8/30", "10.0.0.0/28"] {
        let error = err(&app, "put_network", json!({ "name": "x", "cidr": cidr })).await;
        assert_eq!(error.code, Code::Conflict);
        assert!(error.message.contains("`lan`"), "{error}");
    }
    next(&app, "lan").await.unwrap();
    let moved = json!({ "name": "lan", "cidr": "10.9.0.0/28", "gateway": "", "dhcp_from": "", "dhcp_to": "" });
    assert_eq!(err(&app, "put_network", moved.clone()).await.code, Code::Conflict);
    let error = err(&app, "remove_network", json!({ "name": "lan" })).await;
    assert_eq!(error.code, Code::Conflict);
    assert!(error.approval().is_none());
    ok(&app, "release_ip", json!({ "address": "10.0.0.4" })).await;
    let lan = ok(&app, "put_network", moved).await;
    assert_eq!((&lan["cidr"], &lan["free"]), (&json!("10.9.0.0/28"), &json!(14)));
    assert_eq!(err(&app, "remove_network", json!({ "name": "lan" })).await.code, Code::Unconfirmed);
}

#[tokio::test(flavor = "multi_thread")]
async fn small_and_wide_networks_have_the_addresses_that_they_have() {
    let app = TestApp::new();
    for (name, cidr, given) in [
        ("pair", "10.1.0.0/31", vec!["10.1.0.0", "10.1.0.1"]),
        ("one", "10.1.0.9/32", vec!["10.1.0.9"]),
        ("two", "10.1.0.4/30", vec!["10.1.0.5", "10.1.0.6"]),
    ] {
        let network = ok(&app, "put_network", json!({ "name": name, "cidr": cidr })).await;
        assert_eq!(network["free"], given.len());
        for address in given {
            assert_eq!(next(&app, name).await.unwrap(), address);
        }
        assert_eq!(next(&app, name).await.unwrap_err().code, Code::Conflict);
    }
    let six = json!({ "name": "six", "cidr": "FD00:1::/64", "gateway": "fe80::1",
        "dhcp_from": "fd00:1::3", "dhcp_to": "fd00:1::ffff" });
    let six = ok(&app, "put_network", six).await;
    assert_eq!(six["cidr"], "fd00:1::/64");
    assert!(six.get("free").is_none());
    ok(&app, "put_host", json!({ "name": "nas", "addresses": ["fd00:1:0:0::1"] })).await;
    assert_eq!(next(&app, "six").await.unwrap(), "fd00:1::2");
    assert_eq!(next(&app, "six").await.unwrap(), "fd00:1::1:0");
    ok(&app, "put_network", json!({ "name": "all", "cidr": "2000::/3" })).await;
    assert_eq!(next(&app, "all").await.unwrap(), "2000::1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_looked_up_from_every_side() {
    let app = lan().await;
    ok(&app, "put_service", json!({ "name": "web", "url": "http://10.0.0.2:8080/x" })).await;
    ok(&app, "put_service", json!({ "name": "dsm", "url": "https://NAS.lan/" })).await;
    ok(&app, "put_service", json!({ "name": "other", "url": "https://nasty.lan/" })).await;
    ok(&app, "allocate_ip", json!({ "network": "lan", "address": "10.0.0.2", "assigned_to": "host:nas" })).await;
    let reader = caller("reader", Level::Monitor);
    let look = |address: &'static str| app.ok(&reader, "inventory_lookup_ip", json!({ "address": address }));
    let known = look("::ffff:10.0.0.2").await;
    assert_eq!(known["address"], "10.0.0.2");
    assert_eq!((&known["network"], &known["hosts"], &known["vms"]), (&json!("lan"), &json!(["nas"]), &json!([])));
    assert_eq!((&known["services"], &known["free"]), (&json!(["dsm", "web"]), &json!(false)));
    assert_eq!(known["allocation"]["assigned_to"], "host:nas");
    for (address, free) in [("10.0.0.4", true), ("10.0.0.1", false), ("10.0.0.9", false), ("10.0.0.15", false)] {
        let known = look(address).await;
        assert_eq!((&known["free"], &known["network"]), (&json!(free), &json!("lan")), "{address}");
    }
    let known = look("172.16.0.1").await;
    assert_eq!((known.get("network"), &known["free"]), (None, &json!(false)));
    assert_eq!(err(&app, "lookup_ip", json!({ "address": "x" })).await.field(), Some("address"));
}

#[tokio::test(flavor = "multi_thread")]
async fn allocations_are_in_the_history() {
    let app = lan().await;
    next(&app, "lan").await.unwrap();
    ok(&app, "release_ip", json!({ "address": "10.0.0.4" })).await;
    let page = ok(&app, "changes", json!({ "kind": "address", "name": "10.0.0.4" })).await;
    let actions: Vec<_> = page["items"].as_array().unwrap().iter().map(|change| &change["action"]).collect();
    assert_eq!(actions, ["removed", "created"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_callers_at_once_get_fifty_addresses() {
    let app = TestApp::new();
    let lan = json!({ "name": "lan", "cidr": "10.0.0.0/25", "dhcp_from": "10.0.0.20", "dhcp_to": "10.0.0.60" });
    ok(&app, "put_network", lan).await;
    let given = join_all((0..50).map(|_| next(&app, "lan"))).await;
    let given: HashSet<Ipv4Addr> = given.into_iter().map(|address| address.unwrap().parse().unwrap()).collect();
    assert_eq!(given.len(), 50);
    assert!(given.iter().all(|ip| !(20..=60).contains(&ip.octets()[3])), "{given:?}");
    // Of one address asked for by all, one caller gets it.
    let (caller, input) = (keeper(), json!({ "network": "lan", "address": "10.0.0.99" }));
    let same = (0..50).map(|_| app.call(&caller, "inventory_allocate_ip", input.clone()));
    assert_eq!(join_all(same).await.into_iter().filter(Result::is_ok).count(), 1);
}

#[derive(Clone, Debug)]
enum Step {
    Give,
    GiveThis(u8),
    Release(u8),
    HostTakes(u8),
    Together(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Give),
        2 => (0u8..32).prop_map(Step::GiveThis),
        2 => (0u8..32).prop_map(Step::Release),
        1 => (0u8..32).prop_map(Step::HostTakes),
        1 => (2u8..6).prop_map(Step::Together),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Whatever is given, released and taken: no address twice, none of the DHCP range, the
    /// gateway or the edges, none of a host's, always the lowest, and the count of free ones is right.
    #[test]
    fn no_address_is_given_twice(
        gateway in 1u8..31,
        (from, to) in (1u8..31, 0u8..8).prop_map(|(from, length)| (from, (from + length).min(30))),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(run_steps(gateway, from, to, steps));
    }
}

async fn run_steps(gateway: u8, from: u8, to: u8, steps: Vec<Step>) {
    let app = TestApp::new();
    let ip = |last: u8| format!("10.0.0.{last}");
    let lan = json!({ "name": "lan", "cidr": "10.0.0.0/27", "gateway": ip(gateway), "dhcp_from": ip(from), "dhcp_to": ip(to) });
    ok(&app, "put_network", lan).await;
    let (mut given, mut taken) = (HashSet::new(), HashSet::new());
    let is_open = |last: u8| (1..31).contains(&last) && last != gateway && !(from..=to).contains(&last);
    for step in steps {
        let free = |given: &HashSet<u8>, taken: &HashSet<u8>| {
            (1..31).filter(|last| is_open(*last) && !given.contains(last) && !taken.contains(last)).collect::<Vec<u8>>()
        };
        let expected = free(&given, &taken);
        match step {
            Step::Give => match next(&app, "lan").await {
                Ok(address) => {
                    assert_eq!(Some(&last_octet(&address)), expected.first(), "the lowest");
                    given.insert(last_octet(&address));
                }
                Err(error) => assert!(error.code == Code::Conflict && expected.is_empty(), "{error}"),
            },
            Step::GiveThis(last) => {
                let input = json!({ "network": "lan", "address": ip(last) });
                let outcome = app.call(&keeper(), "inventory_allocate_ip", input).await;
                assert_eq!(outcome.is_ok(), expected.contains(&last), "{last}: {outcome:?}");
                outcome.is_ok().then(|| given.insert(last));
            }
            Step::Release(last) => {
                let outcome = app.call(&keeper(), "inventory_release_ip", json!({ "address": ip(last) })).await;
                assert_eq!(outcome.is_ok(), given.remove(&last), "{last}: {outcome:?}");
            }
            Step::HostTakes(last) => {
                let input = json!({ "name": format!("h{last}"), "addresses": [ip(last)] });
                ok(&app, "put_host", input).await;
                taken.insert(last);
            }
            Step::Together(n) => {
                let addresses = join_all((0..n).map(|_| next(&app, "lan"))).await;
                let fresh: Vec<u8> = addresses.into_iter().flatten().map(|address| last_octet(&address)).collect();
                assert_eq!(fresh.len(), expected.len().min(n.into()));
                for last in fresh {
                    assert!(expected.contains(&last) && given.insert(last), "{last} twice");
                }
            }
        }
        let lan = ok(&app, "get_network", json!({ "name": "lan" })).await;
        assert_eq!((&lan["allocated"], &lan["free"]), (&json!(given.len()), &json!(free(&given, &taken).len())));
    }
}

fn last_octet(address: &str) -> u8 {
    match address.parse().unwrap() {
        IpAddr::V4(ip) => ip.octets()[3],
        IpAddr::V6(ip) => panic!("{ip} is not of the network"),
    }
}
