//! What a configuration file means, and what is said about one with mistakes.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use hearth::config::access::{Level, Who};
use hearth::config::log::Format;
use hearth::config::mistake::Mistakes;
use hearth::config::server::Bind;
use hearth::config::{Config, Error};

const TOOLSETS: &[&str] = &["forum", "inventory", "audit", "system"];

#[test]
fn an_empty_file_is_the_defaults() {
    let config = parse("").unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(config.server.listen_address(), Some("127.0.0.1:8080".parse().unwrap()));
    assert_eq!((config.access.loopback_level, config.access.default_level), (Level::MONITOR, Level::REFUSED));
    assert_eq!(config.limits.call_timeout, Duration::from_secs(45));
    assert_eq!(config.mcp.event_retention, Duration::from_secs(3600));
    assert_eq!(config.approvals.ttl, Duration::from_secs(600));
    assert!(!config.health.allow_loopback);
}

#[test]
fn every_key_is_read() {
    let config = parse(
        r#"
        [server]
        bind = "192.168.1.5"
        port = 9000
        allowed_hosts = ["Hearth.Example.org", "nas.", "fd00::5", "10.0.0.1"]
        allowed_origins = ["https://hearth.example.org", "http://localhost:3000/"]

        [access]
        loopback_level = 0
        default_level = 2
        capability = "example.org/cap/lab"
        [[access.rule]]
        login = "ann@example.org"
        level = 4
        [[access.rule]]
        tag = "tag:ci"
        level = 3
        toolsets = ["forum", "inventory"]
        [[access.self_confirm]]
        caller = "ann@example.org"
        tools = ["inventory_remove_host", "forum_delete_post"]

        [limits]
        reads_per_second = 1
        writes_per_second = 2
        destructive_per_hour = 3
        burst_seconds = 4
        concurrent_calls = 5
        call_timeout = "1m30s"
        body_bytes = 0x10_0000

        [mcp]
        session_idle = "250ms"
        sessions_max = 6
        streams_per_caller = 8
        event_retention = "2h"

        [log]
        format = "json"
        filter = "warn,hearth=debug"

        [health]
        allow = ["172.17.0.5/16", "127.0.0.1"]
        allow_loopback = true

        [approvals]
        ttl = "1h"
        "#,
    )
    .unwrap();
    assert_eq!(config.server.bind, Bind::Address("192.168.1.5".parse().unwrap()));
    let hosts: Vec<String> = config.server.allowed_hosts.iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["hearth.example.org", "nas", "[fd00::5]", "10.0.0.1"]);
    let origins: Vec<String> = config.server.allowed_origins.iter().map(url::Origin::ascii_serialization).collect();
    assert_eq!(origins, ["https://hearth.example.org", "http://localhost:3000"]);
    assert_eq!((config.access.loopback_level.number(), config.access.default_level.number()), (0, 2));
    assert_eq!(config.access.capability, "example.org/cap/lab");
    assert_eq!(config.access.rules[0].who, Who::Login("ann@example.org".to_owned()));
    assert_eq!((config.access.rules[0].level, &config.access.rules[0].toolsets), (Level::MANAGE, &None));
    assert_eq!(config.access.rules[1].who, Who::Tag("tag:ci".to_owned()));
    assert_eq!(config.access.rules[1].toolsets.as_deref().unwrap(), ["forum", "inventory"]);
    assert_eq!(config.access.self_confirm[0].tools, ["inventory_remove_host", "forum_delete_post"]);
    let limits = &config.limits;
    assert_eq!((limits.reads_per_second, limits.writes_per_second, limits.destructive_per_hour), (1, 2, 3));
    assert_eq!((limits.burst_seconds, limits.concurrent_calls, limits.body_bytes), (4, 5, 0x10_0000));
    assert_eq!(limits.call_timeout, Duration::from_secs(90));
    assert_eq!((config.mcp.session_idle, config.mcp.sessions_max), (Duration::from_millis(250), 6));
    // No caller can have more than all have together.
    assert_eq!((config.mcp.sessions_per_caller, config.mcp.streams_per_caller), (6, 8));
    assert_eq!((config.log.format, config.log.filter.as_str()), (Format::Json, "warn,hearth=debug"));
    let policy = config.health.policy(vec!["127.0.0.1:9000".parse().unwrap()]);
    assert!(policy.allow_loopback && policy.own_addresses.len() == 1);
    assert_eq!(policy.allow, ["172.17.0.0/16".parse().unwrap(), "127.0.0.1/32".parse().unwrap()]);
    assert_eq!(config.approvals.ttl, Duration::from_secs(3600));
}

#[test]
fn all_mistakes_are_told_at_once_with_their_places_in_the_order_of_the_file() {
    let told = mistakes(concat!(
        "prot = 1\n",
        "[server]\n",
        "lisen = \"x\"\n",
        "port = \"8080\"\n",
        "  bind = \"0.0.0.0\"\n",
        "[limits]\n",
        "call_timeout = \"45\"\n",
        "reads_per_second = -1\n",
        "[lgo]\n",
        "[[access.rule]]\n",
        "tag = \"ci\"\n",
    ));
    let begins = [
        "hearth.toml:1:1: unknown key `prot`; ",
        "hearth.toml:3:1: unknown key `lisen` in [server]; did you mean `bind`?",
        "hearth.toml:4:8: `server.port` must be a whole number from 1 to 65535, not \"8080\"",
        "hearth.toml:5:10: `server.bind` is refused: 0.0.0.0 listens on every interface, ",
        "hearth.toml:7:16: `limits.call_timeout` is no duration: `45` has no unit; write `45s`",
        "hearth.toml:8:20: `limits.reads_per_second` must be a whole number from 1 to 1000000, not -1",
        "hearth.toml:9:2: unknown key `lgo`; did you mean `log`?",
        "hearth.toml:10:1: `access.rule[0]` has no `level`; write ",
        "hearth.toml:11:7: `access.rule[0].tag` must be a tag such as \"tag:ci\", not \"ci\"",
    ];
    assert_eq!(told.lines().count(), begins.len(), "{told}");
    for (line, begin) in told.lines().zip(begins) {
        assert!(line.starts_with(begin), "{line}\nbegins not with\n{begin}");
    }
}

#[test]
fn each_mistake_says_what_to_write_instead() {
    for (text, key, said) in [
        ("server = 1", "server", "must be a table that begins with `[server]`, not 1"),
        ("[server]\nbnd = 1", "server.bnd", "did you mean `bind`?"),
        ("[server]\nallowed-hosts = []", "server.allowed-hosts", "did you mean `allowed_hosts`?"),
        ("port = 1", "port", "it belongs under [server]"),
        ("[server]\nttl = \"1m\"", "server.ttl", "it belongs under [approvals]"),
        ("[server]\nbind = \"[::1]:80\"", "server.bind", "an IP address without a port"),
        ("[server]\nbind = \"::\"", "server.bind", "`server.insecure_bind = true`"),
        ("[server]\nbind = \"::ffff:0.0.0.0\"", "server.bind", "every interface"),
        ("[server]\nbind = \"*\"", "server.bind", "every interface"),
        ("[server]\nport = 0", "server.port", "a whole number from 1 to 65535, not 0"),
        ("[server]\nport = 65536", "server.port", "from 1 to 65535, not 65536"),
        ("[server]\nport = 80.0", "server.port", "a whole number"),
        ("[server]\nallowed_hosts = \"nas\"", "server.allowed_hosts", "must be a list"),
        ("[server]\nallowed_hosts = [\"*\"]", "server.allowed_hosts[0]", "one host each"),
        (
            "[server]\nallowed_hosts = [\"a\", \"http://nas\"]",
            "server.allowed_hosts[1]",
            "without scheme, port or path",
        ),
        ("[server]\nallowed_hosts = [\"nas:80\"]", "server.allowed_hosts[0]", "without scheme, port or path"),
        ("[server]\nallowed_origins = [\"*\"]", "server.allowed_origins[0]", "\"https://hearth.example.org\""),
        ("[server]\nallowed_origins = [\"null\"]", "server.allowed_origins[0]", "must be an origin"),
        ("[server]\nallowed_origins = [\"http://a/b\"]", "server.allowed_origins[0]", "without path"),
        ("[server]\nallowed_origins = [\"http://u@a\"]", "server.allowed_origins[0]", "must be an origin"),
        ("[server]\ninsecure_bind = \"yes\"", "server.insecure_bind", "must be true or false, not \"yes\""),
        ("[access]\nloopback_level = 5", "access.loopback_level", "from 0 to 4"),
        ("[access]\ncapability = \"hearth\"", "access.capability", "\"example.org/cap/hearth\""),
        ("[access]\nrule = 1", "access.rule", "begins with `[[access.rule]]`"),
        ("[access.rule]\nlevel = 1", "access.rule", "begins with `[[access.rule]]`"),
        ("[[access.rule]]\nlevel = 1", "access.rule[0]", "names nobody; write `login = "),
        ("[[access.rule]]\nlogin = \"a@b\"", "access.rule[0]", "has no `level`"),
        ("[[access.rule]]\nlogin = \"a@b\"\ntag = \"tag:x\"\nlevel = 1", "access.rule[0]", "write two rules"),
        ("[[access.rule]]\nlogin = \"tag:x\"\nlevel = 1", "access.rule[0].login", "write `tag = \"tag:x\"`"),
        ("[[access.rule]]\nlogin = \"*@b\"\nlevel = 1", "access.rule[0].login", "must be one login"),
        ("[[access.rule]]\nlogin = \"\"\nlevel = 1", "access.rule[0].login", "without blanks"),
        ("[[access.rule]]\ntag = \"ci\"\nlevel = 1", "access.rule[0].tag", "\"tag:ci\", not \"ci\""),
        ("[[access.rule]]\ntag = \"tag:x\"\nlevl = 1", "access.rule[0].levl", "did you mean `level`?"),
        (
            "[[access.rule]]\ntag = \"tag:x\"\nlevel = 1\ntoolsets = [\"forun\"]",
            "access.rule[0].toolsets[0]",
            "did you mean `forum`?",
        ),
        (
            "[[access.rule]]\ntag = \"tag:x\"\nlevel = 1\ntoolsets = []",
            "access.rule[0].toolsets",
            "leave it out for all",
        ),
        ("[[access.self_confirm]]\ntools = [\"forum_x\"]", "access.self_confirm[0]", "has no `caller`"),
        ("[[access.self_confirm]]\ncaller = \"a\"", "access.self_confirm[0]", "has no `tools`"),
        ("[[access.self_confirm]]\ncaller = \"a\"\ntools = []", "access.self_confirm[0].tools", "name the tools"),
        (
            "[[access.self_confirm]]\ncaller = \"a\"\ntools = [\"inventory_*\"]",
            "access.self_confirm[0].tools[0]",
            "whole name of a tool",
        ),
        (
            "[[access.self_confirm]]\ncaller = \"a\"\ntools = [\"plex_stop\"]",
            "access.self_confirm[0].tools[0]",
            "toolsets: forum",
        ),
        ("[limits]\ncall_timeout = 45", "limits.call_timeout", "a duration in quotes"),
        ("[limits]\ncall_timeout = \"45\"", "limits.call_timeout", "write `45s`"),
        ("[limits]\ncall_timeout = \"2h\"", "limits.call_timeout", "must be from 100ms to 1h, not 2h"),
        ("[limits]\nbody_bytes = 1", "limits.body_bytes", "from 1024 to 67108864"),
        (
            "[mcp]\nsessions_max = 2\nsessions_per_caller = 3",
            "mcp.sessions_per_caller",
            "`mcp.sessions_max`, which is 2",
        ),
        ("[log]\nformat = \"jsn\"", "log.format", "did you mean \"json\"?"),
        ("[log]\nfilter = \"hearth=loud\"", "log.filter", "directives such as"),
        ("[health]\nallow = [\"172.17.0.0/33\"]", "health.allow[0]", "\"172.17.0.0/16\""),
        ("[approvals]\nttl = \"25h\"", "approvals.ttl", "from 1s to 1d"),
    ] {
        let mistakes = parse(text).expect_err(text);
        let told: Vec<_> = mistakes.iter().collect();
        assert_eq!(told.len(), 1, "{text}\n{mistakes}");
        assert_eq!(told[0].key, key, "{mistakes}");
        assert!(told[0].message.contains(said), "{text}\n{mistakes}");
    }
}

#[test]
fn a_caller_is_named_by_one_rule() {
    let mistakes = parse(concat!(
        "[[access.rule]]\nlogin = \"a@b\"\nlevel = 1\n",
        "[[access.rule]]\ntag = \"tag:x\"\nlevel = 1\n",
        "[[access.rule]]\nlogin = \"a@b\"\nlevel = 4\n",
    ))
    .unwrap_err();
    let told: Vec<_> = mistakes.iter().map(|mistake| (mistake.line, mistake.message.as_str())).collect();
    assert_eq!(told, [(7, "`access.rule[2]` names whom `access.rule[0]` names already; keep one of them")]);
}

#[test]
fn every_interface_is_listened_on_only_if_that_is_meant() {
    let config = parse("[server]\nbind = \"0.0.0.0\"\ninsecure_bind = true").unwrap();
    assert_eq!(config.server.bind, Bind::Address("0.0.0.0".parse().unwrap()));
    let everywhere: SocketAddr = "[::]:80".parse().unwrap();
    assert!(config.server.with_listen(everywhere).is_ok());
    assert!(Config::default().server.with_listen(everywhere).unwrap_err().contains("every interface"));
    let server = Config::default().server.with_listen("127.0.0.1:0".parse().unwrap()).unwrap();
    assert_eq!(server.listen_address(), Some("127.0.0.1:0".parse().unwrap()));
    assert_eq!(parse("[server]\nbind = \"tailnet\"").unwrap().server.listen_address(), None);
}

#[test]
fn bad_syntax_is_placed_and_does_not_hide_the_other_mistakes() {
    let mistakes = parse("[server]\nport = 1 2\nport = \n[limits]\nbody_bytes = 1\n[log\n").unwrap_err();
    let lines: Vec<_> = mistakes.iter().map(|mistake| (mistake.line, mistake.key.as_str())).collect();
    assert!(lines.contains(&(2, "")) && lines.contains(&(5, "limits.body_bytes")), "{mistakes}");
    let twice = parse("[log]\nfilter = \"info\"\nfilter = \"warn\"\n").unwrap_err();
    assert!(twice.to_string().starts_with("hearth.toml:3:1: not proper TOML: "), "{twice}");
}

#[test]
fn a_named_file_has_to_be_there_and_the_one_in_the_data_folder_need_not() {
    let data = tempfile::tempdir().unwrap();
    let load = |file: Option<&Path>| Config::load(file, data.path(), TOOLSETS);
    assert_eq!(load(None).unwrap(), Config::default());
    let missing = data.path().join("other.toml");
    let error = load(Some(&missing)).unwrap_err();
    assert!(matches!(error, Error::Read { .. }) && error.to_string().contains("other.toml"), "{error}");

    std::fs::write(data.path().join("hearth.toml"), "[server]\nport = 81\n").unwrap();
    std::fs::write(&missing, "[server]\nport = 82\n").unwrap();
    assert_eq!(load(None).unwrap().server.port, 81);
    assert_eq!(load(Some(&missing)).unwrap().server.port, 82);

    std::fs::write(&missing, "port").unwrap();
    assert!(matches!(load(Some(&missing)), Err(Error::Mistakes(_))));
    std::fs::write(&missing, [0xff]).unwrap();
    assert!(matches!(load(Some(&missing)), Err(Error::Read { .. })));
    std::fs::write(&missing, "#".repeat(2 << 20)).unwrap();
    assert!(matches!(load(Some(&missing)), Err(Error::TooLarge { .. })));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "([\\[\\]a-z_.=\" \n{},0-9#é]|\\[server\\]\n|port = |\\[\\[access.rule\\]\\]\n|level=){0,40}") {
        let _ = parse(&text);
    }
}

fn parse(text: &str) -> Result<Config, Mistakes> {
    Config::parse(text, Path::new("hearth.toml"), TOOLSETS)
}

fn mistakes(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}
