//! An appliance in a folder of its own, and callers of every kind.

pub mod bucket;
pub mod server;

use std::sync::Arc;

use hearth::app::{App, Caller, Door, Level};
use hearth::config::Config;
use hearth::error::{Error, Result};
use hearth::registry::{Call, Registry, Toolset};
use serde_json::Value;

pub struct TestApp {
    pub dir: tempfile::TempDir,
    pub app: Arc<App>,
    pub registry: Arc<Registry>,
}

impl TestApp {
    pub fn new() -> TestApp {
        TestApp::with(unhurried(), hearth::tools::TOOLSETS)
    }

    pub fn with(config: Config, toolsets: &[Toolset]) -> TestApp {
        TestApp::open(tempfile::tempdir().expect("a folder"), config, toolsets)
    }

    pub fn open(dir: tempfile::TempDir, config: Config, toolsets: &[Toolset]) -> TestApp {
        let app = App::open(&dir.path().join("data"), &dir.path().join("root.key"), config).expect("an app");
        let registry = Registry::new(Arc::clone(&app), toolsets);
        TestApp { dir, app, registry }
    }

    /// Stops cleanly and starts again on the same files.
    pub async fn restart(self, toolsets: &[Toolset]) -> TestApp {
        self.app.close().await.expect("a clean stop");
        let TestApp { dir, app, registry } = self;
        drop((app, registry));
        TestApp::open(dir, unhurried(), toolsets)
    }

    pub async fn call(&self, caller: &Caller, tool: &str, input: Value) -> Result<Value> {
        self.registry.invoke(Call::new(Arc::new(caller.clone()), tool, input)).await
    }

    pub async fn ok(&self, caller: &Caller, tool: &str, input: Value) -> Value {
        match self.call(caller, tool, input).await {
            Ok(output) => output,
            Err(error) => panic!("{tool}: {error} ({})", error.chain()),
        }
    }

    pub async fn err(&self, caller: &Caller, tool: &str, input: Value) -> Error {
        match self.call(caller, tool, input).await {
            Ok(output) => panic!("{tool} should have failed: {output}"),
            Err(error) => error,
        }
    }
}

/// Limits that a test does not meet by accident.
pub fn unhurried() -> Config {
    let mut config = Config::default();
    config.limits.reads_per_second = 100_000;
    config.limits.writes_per_second = 100_000;
    config.limits.destructive_per_hour = 100_000;
    config.limits.concurrent_calls = 1000;
    config
}

pub fn caller(name: &str, level: Level) -> Caller {
    Caller {
        principal: format!("token:{name}"),
        level,
        toolsets: None,
        rule: "test".to_owned(),
        door: Door::Mcp,
        client: None,
    }
}

pub fn person() -> Caller {
    Caller::owner(Door::Cli)
}
