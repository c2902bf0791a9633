//! `hearth restore`: a replica becomes a database file.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::args::Restore;
use super::output;
use super::replica::{self, Replica};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::error::{Error, Result};
use crate::registry::fence;
use crate::replica::plan::{Candidate, Target};
use crate::replica::restore::{self, Event, Progress};

pub async fn run(args: Restore) -> Result<()> {
    let target = target(&args, SystemClock.now())?;
    let replica = replica::open(&args.replica).await?;
    let say = |event: Value, text: String| {
        if args.json { output::line(&event.to_string()) } else { output::line(&fence::clean(&text)) }
    };
    let Some(output) = args.output.filter(|_| !args.dry_run) else {
        let files = restore::planned(&replica.store, target).await.map_err(replica::restore_error)?;
        return say(plan_event(&replica, &files), plan_text(&replica, &files));
    };
    let bar = bar(args.json);
    let restored = restore::restore(&replica.store, target, &output, progress(&replica, args.json, bar.clone())).await;
    bar.finish_and_clear();
    let restored = restored.map_err(replica::restore_error)?;
    let moment = Timestamp::from_millis(restored.timestamp_ms);
    let age = SystemClock.now().since(moment);
    let event = json!({
        "event": "restored",
        "output": output,
        "lineage": replica.lineage,
        "txid": restored.txid.to_string(),
        "last_transaction": moment,
        "age_s": age.as_secs(),
        "pages": restored.pages,
        "page_size_bytes": restored.page_size,
        "files": restored.files,
        "fetched_bytes": restored.fetched_bytes,
    });
    let age = Duration::from_secs(age.as_secs());
    let text = format!(
        "{}: restored to transaction {} of {moment}, {age:?} ago{}; SQLite finds it sound",
        output.display(),
        restored.txid,
        whose(&replica),
    );
    say(event, text)
}

fn target(args: &Restore, now: Timestamp) -> Result<Target> {
    if let Some(txid) = args.txid {
        return Ok(Target::Txid(txid));
    }
    let Some(text) = &args.timestamp else { return Ok(Target::Latest) };
    let moment = ago(text).map(|wait| now - wait);
    let moment = moment.map_or_else(|| text.parse::<Timestamp>(), Ok);
    moment.map(|moment| Target::Before(moment.as_millis())).map_err(|error| {
        Error::invalid("--timestamp", error).with_hint("a time before now may be written as \"10 minutes ago\"")
    })
}

/// `10 minutes ago`, `1 hour ago`, `2d ago`.
fn ago(text: &str) -> Option<Duration> {
    let text = text.trim().strip_suffix("ago")?.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let unit = match text[digits..].trim() {
        "s" | "second" | "seconds" => 1,
        "m" | "min" | "minute" | "minutes" => 60,
        "h" | "hour" | "hours" => 3600,
        "d" | "day" | "days" => 86_400,
        "w" | "week" | "weeks" => 604_800,
        _ => return None,
    };
    number.checked_mul(unit).map(Duration::from_secs)
}

fn bar(json: bool) -> ProgressBar {
    if json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    let style = "{wide_bar} {bytes}/{total_bytes}  {bytes_per_sec}  {eta}";
    bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn progress(replica: &Replica, json: bool, bar: ProgressBar) -> Progress {
    let (place, lineage) = (replica.store.describe(), replica.lineage.clone());
    Arc::new(move |event| match event {
        Event::Planned(files) => {
            bar.reset();
            bar.set_length(total(files));
            if json {
                // A reader that went away does not stop a restore.
                let _ = output::line(&plan_line(&place, lineage.as_deref(), files).to_string());
            }
        }
        Event::Arrived(bytes) => {
            bar.inc(bytes);
            if json {
                let event = json!({ "event": "progress", "bytes": bar.position(), "total_bytes": bar.length() });
                let _ = output::line(&event.to_string());
            }
        }
    })
}

fn total(files: &[Candidate]) -> u64 {
    files.iter().map(|file| file.size).sum()
}

fn plan_line(place: &str, lineage: Option<&str>, files: &[Candidate]) -> Value {
    let file = |file: &Candidate| {
        let moment = Timestamp::from_millis(file.timestamp_ms);
        json!({ "key": file.key, "level": file.level.number(), "size_bytes": file.size, "timestamp": moment })
    };
    let items: Vec<Value> = files.iter().map(file).collect();
    json!({ "event": "plan", "replica": place, "lineage": lineage, "total_bytes": total(files), "files": items })
}

fn plan_event(replica: &Replica, files: &[Candidate]) -> Value {
    plan_line(&replica.store.describe(), replica.lineage.as_deref(), files)
}

fn plan_text(replica: &Replica, files: &[Candidate]) -> String {
    let mut text = format!("{}{}\n", replica.store.describe(), whose(replica));
    for file in files {
        let moment = Timestamp::from_millis(file.timestamp_ms);
        text.push_str(&format!("{}  {}  {:>12}  {moment}\n", file.level, file.name, file.size));
    }
    text.push_str(&format!("{} files, {} bytes", files.len(), total(files)));
    text
}

fn whose(replica: &Replica) -> String {
    let host = replica.head.as_ref().and_then(|head| head.host.as_deref());
    match (&replica.lineage, host) {
        (None, _) => ", of no lineage (Litestream's own)".to_owned(),
        (Some(lineage), None) => format!(", of lineage {lineage}"),
        (Some(lineage), Some(host)) => format!(", of lineage {lineage} (last written by {host})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_now_have_units() {
        for (text, seconds) in [("10 minutes ago", 600), ("1 hour ago", 3600), ("2d ago", 172_800), ("30s ago", 30)] {
            assert_eq!(ago(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["ago", "10 ago", "minutes ago", "10 minutes", "-1 hour ago", "99999999999999999999 s ago"] {
            assert_eq!(ago(text), None, "{text}");
        }
    }
}
