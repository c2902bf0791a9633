//! The one way to run an operation.
//!
//! In order: find the tool, the caller's level and toolset, rate limit, read the input,
//! the plan and its approval if destructive, the audit row "attempt", run with a deadline,
//! clean what others wrote, the audit row "outcome", answer.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{Decoded, Described, Effect, Registry, confirm, fence};
use crate::app::context::Step;
use crate::app::limiter::Class;
use crate::app::{Caller, Context, Progress};
use crate::error::{Code, Error, Result};
use crate::id;
use crate::store::audit::{self, Record};
use crate::store::requests::{self, Claim, Request};

const REQUEST_ID_MAX: usize = 128;

/// A call as a surface makes it.
pub struct Call {
    pub caller: Arc<Caller>,
    pub tool: String,
    /// An object; may hold `request_id` and `approval_id` beside the tool's own fields.
    pub input: Value,
    pub cancel: CancellationToken,
    pub progress: Progress,
}

impl Call {
    pub fn new(caller: Arc<Caller>, tool: impl Into<String>, input: Value) -> Call {
        Call { caller, tool: tool.into(), input, cancel: CancellationToken::new(), progress: Progress::none() }
    }
}

impl Registry {
    /// Runs a tool for a caller; the answer is an object, cleaned and fit for any door.
    pub async fn invoke(self: &Arc<Registry>, call: Call) -> Result<Value> {
        let call_id = id::call_id();
        let started = Instant::now();
        let door = call.caller.door.word();
        let span = tracing::info_span!("call", tool = %call.tool.escape_debug(), caller = %call.caller.principal, door, call_id);
        let Some(tool) = self.find(&call.tool) else {
            let error = self.no_tool(&call.tool).with_call_id(&call_id).cleaned(&self.app.secrets);
            span.in_scope(|| tracing::info!(code = error.code.word(), "refused: {}", error.message));
            return Err(error);
        };
        let (name, is_read) = (tool.entry.name, tool.entry.effect == Effect::Read);
        let work = Arc::clone(self).gate(call, name, call_id.clone()).instrument(span.clone());
        let result = if is_read {
            work.await
        } else {
            // What acts on the world ends in its own time and with its outcome written, also
            // when the door that asked for it is gone.
            match tokio::spawn(work).await {
                Ok(result) => result,
                Err(error) => Err(Error::internal(error)),
            }
        };
        let took = started.elapsed();
        let code = result.as_ref().map_or_else(|error| error.code.word(), |_| "ok");
        self.app.metrics.call(name, door, code, took);
        span.in_scope(|| report(&result, took));
        result.map_err(|error| error.with_call_id(&call_id).cleaned(&self.app.secrets))
    }

    async fn gate(self: Arc<Registry>, call: Call, name: &'static str, call_id: String) -> Result<Value> {
        let tool = self.find(name).expect("invoke has found it");
        let Call { caller, input, cancel, progress, .. } = call;
        self.admit(tool, &caller, &call_id).await?;
        let who = Arc::clone(&caller);
        let turned_away = |error: Error| self.turned_away(tool, &who, error);
        let (input, Extras { request_id, approval_id }) = split(input).map_err(turned_away)?;
        let input_digest = confirm::digest(&self.app, &input);
        let mut cx = Context::new(Arc::clone(&self.app), caller, name, call_id, request_id, input_digest);
        (cx.cancel, cx.progress) = (cancel, progress);
        let _slot = self.app.limits.enter(&cx.caller.principal).map_err(turned_away)?;
        // Only a plan shows the input again.
        let shown = (tool.entry.effect == Effect::Destructive).then(|| input.clone());
        let decoded = (tool.entry.decode)(input).map_err(turned_away)?;
        match tool.entry.effect {
            Effect::Read => {
                let mut output = run(tool, decoded, &cx).await.map_err(turned_away)?;
                self.app.reads.count(&cx.caller.principal, cx.caller.door.word(), tool.entry.name);
                clean(tool, &cx, &mut output);
                Ok(output)
            }
            Effect::Write => act(tool, decoded, &cx).await,
            Effect::Destructive => {
                // A call that was done has spent its approval and changed what its plan was made from.
                if let Some(output) = kept_answer(&cx).await? {
                    return Ok(output);
                }
                let plan = decoded.plan(&cx).await?;
                let class = Class::Destructive;
                match &approval_id {
                    Some(approval_id) => {
                        // First the rate: a call that comes too early must not cost its approval.
                        self.app.limits.take(&cx.caller.principal, class, cx.now())?;
                        confirm::redeem(&cx, approval_id, &plan).await?;
                    }
                    None if !tool.entry.reveals && self.may_confirm_itself(&cx) => {
                        self.app.limits.take(&cx.caller.principal, class, cx.now())?;
                    }
                    None => {
                        let error = confirm::propose(&cx, &shown.unwrap_or_default(), plan).await?;
                        append(&cx, cx.record("attempt", error.code.word(), Some("a plan was made".to_owned())))
                            .await?;
                        return Err(error);
                    }
                }
                act(tool, decoded, &cx).await
            }
        }
    }

    /// Level and toolset, before the input is read, and then the rate.
    async fn admit(&self, tool: &Described, caller: &Caller, call_id: &str) -> Result<()> {
        let entry = tool.entry;
        let refusal = if entry.person_only && !caller.is_person() {
            Some(Error::forbidden(format_args!("`{}` is for a person at the command line only", entry.name)))
        } else if caller.level < entry.level {
            Some(
                Error::forbidden(format_args!(
                    "`{}` needs level {} ({}); you have {} ({})",
                    entry.name,
                    entry.level.number(),
                    entry.level.name(),
                    caller.level.number(),
                    caller.level.name()
                ))
                .with_hint("ask the owner for a token of that level"),
            )
        } else if !caller.may(tool.toolset) {
            Some(Error::forbidden(format_args!("the toolset `{}` is not open to you here", tool.toolset)))
        } else {
            None
        };
        // A refusal costs as a write does, since it leaves a row in the chain; so does a plan.
        let class = if entry.effect == Effect::Read && refusal.is_none() { Class::Read } else { Class::Write };
        let rate = self.app.limits.take(&caller.principal, class, self.app.clock.now());
        rate.map_err(|error| self.turned_away(tool, caller, error))?;
        let Some(error) = refusal else { return Ok(()) };
        let record = Record {
            at: self.app.clock.now(),
            call_id: call_id.to_owned(),
            principal: caller.principal.clone(),
            door: caller.door.word().to_owned(),
            tool: entry.name.to_owned(),
            phase: "attempt",
            decision: error.code.word().to_owned(),
            reason: Some(self.app.secrets.clean(&error.message).into_owned()),
            ..Record::default()
        };
        let key = self.app.keys.audit.clone();
        self.app.store.write(move |tx| audit::append(tx, &key, &record)).await?;
        Err(error)
    }

    /// Counts a call that ends without a row of its own.
    fn turned_away(&self, tool: &Described, caller: &Caller, error: Error) -> Error {
        self.app.reads.count_refused(&caller.principal, caller.door.word(), tool.entry.name, error.code);
        error
    }

    /// Whether the configuration lets this caller confirm this tool by itself.
    fn may_confirm_itself(&self, cx: &Context) -> bool {
        let rules = &self.app.config.access.self_confirm;
        rules.iter().any(|rule| rule.caller == cx.caller.principal && rule.tools.iter().any(|tool| tool == cx.tool))
    }

    fn no_tool(&self, name: &str) -> Error {
        let shown: String = name.chars().take(64).collect();
        let error = Error::not_found(format_args!("no tool `{}`", shown.escape_debug()));
        let near = self
            .all()
            .map(|tool| tool.entry.name)
            .max_by(|a, b| strsim::jaro_winkler(a, &shown).total_cmp(&strsim::jaro_winkler(b, &shown)));
        match near.filter(|near| 0.8 < strsim::jaro_winkler(near, &shown)) {
            Some(near) => error.with_hint(format_args!("did you mean `{near}`?")),
            None => error,
        }
    }
}

/// What the gate itself reads of an input.
struct Extras {
    request_id: Option<String>,
    approval_id: Option<String>,
}

fn split(input: Value) -> Result<(Value, Extras)> {
    let mut fields = match input {
        Value::Object(fields) => fields,
        Value::Null => serde_json::Map::new(),
        _ => return Err(Error::new(Code::InvalidInput, "the input must be an object")),
    };
    let mut take = |name: &str| match fields.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if (1..=REQUEST_ID_MAX).contains(&text.chars().count()) => Ok(Some(text)),
        Some(_) => Err(Error::invalid(name, format_args!("must be a text of 1 to {REQUEST_ID_MAX} characters"))),
    };
    let extras = Extras { request_id: take("request_id")?, approval_id: take("approval_id")? };
    Ok((Value::Object(fields), extras))
}

/// The answer that this very call already has under its idempotency key. It runs nothing.
async fn kept_answer(cx: &Context) -> Result<Option<Value>> {
    let Some(request_id) = &cx.request_id else { return Ok(None) };
    let request = Request {
        principal: &cx.caller.principal,
        request_id,
        tool: cx.tool,
        input_digest: &cx.input_digest,
        call_id: &cx.call_id,
    };
    let now = cx.now();
    let Some(output) = cx.read_now(|conn| requests::answer(conn, &request, now)).await? else { return Ok(None) };
    append(cx, cx.record("attempt", "allowed", Some(format!("answered from request_id {request_id}")))).await?;
    recall(&output, cx).map(Some)
}

/// An answer as it was kept, fit for the door.
fn recall(output: &str, cx: &Context) -> Result<Value> {
    let mut output = serde_json::from_str(output).map_err(Error::internal)?;
    fence::clean_answer(&cx.app.secrets, &mut output);
    Ok(output)
}

/// Makes an answer fit for the door; one that reveals a secret on purpose is exact.
fn clean(tool: &Described, cx: &Context, output: &mut Value) {
    if !tool.entry.reveals {
        fence::clean_answer(&cx.app.secrets, output);
    }
}

/// A call with an effect: its attempt is committed before, its outcome after, and its key holds.
async fn act(tool: &Described, decoded: Box<dyn Decoded>, cx: &Context) -> Result<Value> {
    if let Some(output) = attempt(cx).await? {
        return recall(&output, cx);
    }
    let result = run(tool, decoded, cx).await;
    match &result {
        Ok(_) if cx.is_settled() => {}
        Ok(_) => append(cx, cx.record("outcome", "ok", None)).await?,
        Err(error) => {
            let record = cx.record("outcome", error.code.word(), Some(error.message.clone()));
            if let Err(lost) = settle_failure(cx, record).await {
                tracing::error!(error = %lost, cause = lost.chain(), "the outcome is not in the audit chain");
            }
        }
    }
    let mut output = result?;
    clean(tool, cx, &mut output);
    Ok(output)
}

/// Commits the attempt; an answer that the caller's key already has comes back at once.
async fn attempt(cx: &Context) -> Result<Option<String>> {
    let record = cx.record("attempt", "allowed", None);
    let key = cx.app.keys.audit.clone();
    let Some(request_id) = cx.request_id.clone() else {
        cx.app.store.write(move |tx| audit::append(tx, &key, &record)).await?;
        return Ok(None);
    };
    let (principal, tool) = (cx.caller.principal.clone(), cx.tool);
    let (input_digest, call_id) = (cx.input_digest.clone(), cx.call_id.clone());
    let (now, started_at, secrets) = (cx.now(), cx.app.started_at, Arc::clone(&cx.app.secrets));
    cx.app
        .store
        .write(move |tx| {
            let request = Request {
                principal: &principal,
                request_id: &request_id,
                tool,
                input_digest: &input_digest,
                call_id: &call_id,
            };
            let mut record = record;
            let claim = requests::claim(tx, &request, now, started_at)?;
            if let Claim::Done(_) = claim {
                let reason = format!("answered from request_id {request_id}");
                record.reason = Some(secrets.clean(&reason).into_owned());
            }
            audit::append(tx, &key, &record)?;
            match claim {
                Claim::Run => Ok(None),
                Claim::Done(output) => Ok(Some(output)),
            }
        })
        .await
}

async fn settle_failure(cx: &Context, record: Record) -> Result<()> {
    let key = cx.app.keys.audit.clone();
    let request = cx.request_id.clone().map(|id| (cx.caller.principal.clone(), id));
    cx.app
        .store
        .write(move |tx| {
            if let Some((principal, id)) = &request {
                requests::forget(tx, principal, id)?;
            }
            audit::append(tx, &key, &record)?;
            Ok(())
        })
        .await
}

async fn append(cx: &Context, record: Record) -> Result<()> {
    let key = cx.app.keys.audit.clone();
    cx.app.store.write(move |tx| audit::append(tx, &key, &record)).await?;
    Ok(())
}

/// Runs the tool until it ends, its deadline passes or the caller gives up, with signs of life meanwhile.
async fn run(tool: &Described, decoded: Box<dyn Decoded>, cx: &Context) -> Result<Value> {
    let deadline = tool.entry.deadline.unwrap_or(cx.app.config.limits.call_timeout);
    let started = Instant::now();
    let mut work = AssertUnwindSafe(decoded.run(cx)).catch_unwind();
    // Most tools end at once: the timers below are set up only for those that do not.
    if let Some(outcome) = (&mut work).now_or_never() {
        return outcome.unwrap_or_else(|_| Err(panicked()));
    }
    loop {
        let wait = deadline.saturating_sub(started.elapsed()).min(Progress::HEARTBEAT);
        tokio::select! {
            outcome = &mut work => return outcome.unwrap_or_else(|_| Err(panicked())),
            () = cx.cancel.cancelled() => {
                return Err(Error::new(Code::Timeout, format_args!("`{}` was cancelled by the client", cx.tool)));
            }
            () = tokio::time::sleep(wait) => {
                if deadline <= started.elapsed() {
                    return Err(too_slow(cx.tool, deadline));
                }
                let seconds = started.elapsed().as_secs_f64();
                let message = format!("still running after {seconds:.0} s");
                cx.progress.tell(Step { done: seconds, total: None, message }).await;
            }
        }
    }
}

fn panicked() -> Error {
    Error::internal("the tool panicked")
}

fn too_slow(tool: &str, deadline: Duration) -> Error {
    Error::new(Code::Timeout, format_args!("`{tool}` did not end within {} s", deadline.as_secs()))
}

fn report(result: &Result<Value>, took: Duration) {
    let took_ms = took.as_secs_f64() * 1e3;
    match result {
        Ok(_) => tracing::debug!(took_ms, "done"),
        Err(error) if matches!(error.code, Code::Internal | Code::Unavailable | Code::Integrity) => {
            tracing::error!(took_ms, code = error.code.word(), cause = error.chain(), "failed: {}", error.message);
        }
        Err(error) => tracing::info!(took_ms, code = error.code.word(), "refused: {}", error.message),
    }
}
