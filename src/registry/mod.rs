//! One definition of every operation, and the one way to run it.
//!
//! Invariant: a tool runs through [`Registry::invoke`] and no other way.

pub mod coerce;
pub mod confirm;
pub mod fence;
mod invoke;
mod schema;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::app::{App, Caller, Context, Level};
use crate::error::{Error, Result};
pub use confirm::{Plan, Reversible};
pub use invoke::Call;

/// An operation of the appliance. The type that implements it is its input.
pub trait Tool: DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// `<toolset>_<verb>_<noun>`, unique in the appliance.
    const NAME: &'static str;
    /// What a caller must hold to run it.
    const LEVEL: Level;
    const EFFECT: Effect;
    /// `METHOD /api/path/{field}`; the rest of the fields are the query or the body.
    const ROUTE: &'static str;
    /// Only for a person at the command line: what an agent must not do even at level 4.
    const PERSON_ONLY: bool = false;
    /// Whether its answer is a secret, on purpose: it leaves as it is and is kept nowhere, and nobody but a
    /// person at the command line can approve it.
    const REVEALS: bool = false;
    /// How long a call may take, where it is not the configured time.
    const DEADLINE: Option<Duration> = None;

    type Output: Serialize + JsonSchema + Send;

    /// What a destructive call would do, shown to the person who approves it.
    fn plan(&self, cx: &Context) -> impl Future<Output = Result<Plan>> + Send {
        let _ = cx;
        std::future::ready(Err(Error::internal("a destructive tool without a plan")))
    }

    fn run(self, cx: &Context) -> impl Future<Output = Result<Self::Output>> + Send;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Read,
    Write,
    /// Runs only once a person has approved its plan.
    Destructive,
}

/// A tool with its types erased, as the surfaces see it.
pub struct Entry {
    pub name: &'static str,
    pub level: Level,
    pub effect: Effect,
    pub route: &'static str,
    pub person_only: bool,
    pub reveals: bool,
    deadline: Option<Duration>,
    input: fn() -> Schema,
    output: fn() -> Schema,
    decode: fn(Value) -> Result<Box<dyn Decoded>>,
}

/// A tool with its input read.
trait Decoded: Send + Sync {
    fn plan<'a>(&'a self, cx: &'a Context) -> BoxFuture<'a, Result<Plan>>;
    fn run(self: Box<Self>, cx: &Context) -> BoxFuture<'_, Result<Value>>;
}

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl<T: Tool> Decoded for T {
    fn plan<'a>(&'a self, cx: &'a Context) -> BoxFuture<'a, Result<Plan>> {
        Box::pin(Tool::plan(self, cx))
    }

    fn run(self: Box<Self>, cx: &Context) -> BoxFuture<'_, Result<Value>> {
        Box::pin(async move {
            let output = Tool::run(*self, cx).await?;
            serde_json::to_value(output).map_err(Error::internal)
        })
    }
}

impl Entry {
    pub const fn of<T: Tool>() -> Entry {
        Entry {
            name: T::NAME,
            level: T::LEVEL,
            effect: T::EFFECT,
            route: T::ROUTE,
            person_only: T::PERSON_ONLY,
            reveals: T::REVEALS,
            deadline: T::DEADLINE,
            input: schema::input::<T>,
            output: schema::output::<T::Output>,
            decode: |input| Ok(Box::new(schema::decode::<T>(input)?)),
        }
    }
}

/// An entry with what the surfaces show of it, made once.
pub struct Described {
    pub entry: &'static Entry,
    pub toolset: &'static str,
    /// `Read thread`, for `forum_read_thread`.
    pub title: String,
    /// The first line of the description.
    pub summary: String,
    pub description: String,
    pub input: Arc<Map<String, Value>>,
    pub output: Arc<Map<String, Value>>,
    pub method: http::Method,
    pub path: &'static str,
}

/// A toolset: its name, and its tools in reading order.
pub type Toolset = (&'static str, &'static [Entry]);

pub struct Registry {
    pub app: Arc<App>,
    tools: Vec<Described>,
    by_name: HashMap<&'static str, usize>,
}

impl Registry {
    pub fn new(app: Arc<App>, toolsets: &[Toolset]) -> Arc<Registry> {
        let tools: Vec<_> = toolsets
            .iter()
            .flat_map(|(toolset, entries)| entries.iter().map(|entry| Described::new(toolset, entry)))
            .collect();
        let by_name = tools.iter().enumerate().map(|(index, tool)| (tool.entry.name, index)).collect();
        Arc::new(Registry { app, tools, by_name })
    }

    pub fn all(&self) -> impl Iterator<Item = &Described> {
        self.tools.iter()
    }

    pub fn find(&self, name: &str) -> Option<&Described> {
        self.by_name.get(name).map(|index| &self.tools[*index])
    }

    /// What a caller is shown: nothing that it could not call.
    pub fn offered<'a>(&'a self, caller: &'a Caller) -> impl Iterator<Item = &'a Described> {
        self.all().filter(|tool| tool.is_offered(caller))
    }
}

impl Described {
    fn new(toolset: &'static str, entry: &'static Entry) -> Described {
        let (input, output) = ((entry.input)(), (entry.output)());
        let (description, input) = schema::finish_input(input, entry.effect);
        let output = schema::finish_output(output);
        let (method, path) = entry.route.split_once(' ').unwrap_or(("POST", entry.route));
        let words = entry.name.strip_prefix(toolset).unwrap_or(entry.name).trim_start_matches('_').replace('_', " ");
        let mut letters = words.chars();
        let title = letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str());
        Described {
            entry,
            toolset,
            title: title.unwrap_or_default(),
            summary: description.lines().next().unwrap_or_default().to_owned(),
            description,
            input: Arc::new(input),
            output: Arc::new(output),
            method: method.parse().unwrap_or(http::Method::POST),
            path,
        }
    }

    pub fn is_offered(&self, caller: &Caller) -> bool {
        self.entry.level <= caller.level && caller.may(self.toolset) && (!self.entry.person_only || caller.is_person())
    }
}
