//! The commented file that `hearth init` writes: every key, with its default.

/// Every setting stands behind a `#`, at its default value.
pub const EXAMPLE: &str = r#"# hearth.toml: the configuration of hearth.
#
# Every setting below shows its default. Take away the `#` before a line to change it.
# Durations are texts such as "250ms", "45s", "5m", "1h30m" or "90d".

[server]
# Where to listen: "loopback", "tailnet" (the addresses of this machine in the tailnet),
# or one IP address. Every interface ("0.0.0.0" or "::") is refused unless insecure_bind is true.
#bind = "loopback"
#port = 8080
# Host names under which hearth is reached beside the machine's own, such as that of a proxy.
#allowed_hosts = []
# Web pages, by origin, whose scripts may call hearth.
#allowed_origins = []
#insecure_bind = false

# Levels: 0 refused, 1 monitor, 2 operate, 3 configure, 4 manage.
[access]
# Callers from this machine without a token.
#loopback_level = 1
# Callers from the tailnet whom no rule and no grant names.
#default_level = 0
# The capability whose grants in the tailnet's policy are honoured.
#capability = "hearth.home.arpa/cap/hearth"

# A rule names one login or one tag. Without toolsets it holds for all of them.
#
# [[access.rule]]
# login = "ann@example.org"
# level = 4
#
# [[access.rule]]
# tag = "tag:ci"
# level = 2
# toolsets = ["inventory"]

# Callers who may confirm the named destructive tools by themselves; nobody else's do.
#
# [[access.self_confirm]]
# caller = "ann@example.org"
# tools = ["inventory_remove_host"]

# What one caller may ask for.
[limits]
#reads_per_second = 20
#writes_per_second = 5
#destructive_per_hour = 20
# How many seconds' worth may be asked for at once.
#burst_seconds = 10
#concurrent_calls = 16
#call_timeout = "45s"
#body_bytes = 1048576

[mcp]
# A session ends after so long without a word from its client.
#session_idle = "5m"
#sessions_max = 256
#sessions_per_caller = 32
#streams_per_caller = 16
# How long events are kept for clients that come back.
#event_retention = "1h"

[log]
# "human", "json", or "auto": for people on a terminal, JSON elsewhere.
#format = "auto"
# A level such as "debug", or directives such as "info,hearth::store=debug".
#filter = "info"

[health]
# Ranges that health checks may reach although they are denied otherwise, such as
# Docker's bridge, "172.17.0.0/16".
#allow = []
# Whether services on this machine may be checked. Hearth's own port never is.
#allow_loopback = false

[approvals]
# After so long an approval can be neither given nor used.
#ttl = "10m"
"#;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Config, KEYS};
    use super::*;

    fn parse(text: &str) -> Config {
        Config::parse(text, Path::new("hearth.toml"), &["inventory"]).unwrap_or_else(|mistakes| panic!("{mistakes}"))
    }

    /// The example with its lines that begin with `mark` and are TOML put into force.
    fn in_force(mark: &str) -> String {
        let is_setting = |line: &str| line.starts_with("[[") || line.split_once(" = ").is_some();
        let line = |line: &'static str| match line.strip_prefix(mark) {
            Some(rest) if is_setting(rest) && !rest.starts_with(' ') => rest,
            _ => line,
        };
        EXAMPLE.lines().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_example_is_the_defaults_as_written_and_with_every_setting_in_force() {
        assert_eq!(parse(EXAMPLE), Config::default());
        let settings = in_force("#");
        assert!(settings.contains("\nport = 8080\n"), "{settings}");
        assert_eq!(parse(&settings), Config::default());
    }

    #[test]
    fn the_rules_it_shows_are_proper_rules() {
        let config = parse(&in_force("# "));
        assert_eq!(config.access.rules.len(), 2);
        assert_eq!(config.access.self_confirm.len(), 1);
    }

    #[test]
    fn it_shows_every_key() {
        let settings = in_force("#");
        for key in KEYS.iter().copied().flatten() {
            let is_shown = settings.contains(&format!("\n{key} = ")) || EXAMPLE.contains(&format!("[[access.{key}]]"));
            assert!(is_shown, "{key}");
        }
    }
}
