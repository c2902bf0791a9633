//! What the benchmarks share: figures over rounds, a Markdown table, arguments, the machine.

#![allow(dead_code, reason = "each benchmark uses its part")]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// One figure, measured once a round.
#[derive(Clone, Debug, Default)]
pub struct Rounds(pub Vec<f64>);

impl Rounds {
    pub fn push(&mut self, figure: f64) {
        self.0.push(figure);
    }

    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => f64::NAN,
            n if n % 2 == 1 => sorted[n / 2],
            n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
        }
    }

    pub fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::min)
    }

    pub fn max(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::max)
    }

    /// Each round of ours by the same round of theirs: what disturbs a round disturbs both.
    pub fn by(&self, other: &Rounds) -> Rounds {
        Rounds(self.0.iter().zip(&other.0).map(|(a, b)| a / b).collect())
    }

    pub fn scaled(&self, factor: f64) -> Rounds {
        Rounds(self.0.iter().map(|figure| figure * factor).collect())
    }

    /// The median, and from where to where it went.
    pub fn show(&self) -> String {
        if self.0.is_empty() {
            return "–".to_owned();
        }
        format!("{} [{}–{}]", figure(self.median()), figure(self.min()), figure(self.max()))
    }

    pub fn show_median(&self) -> String {
        if self.0.is_empty() { "–".to_owned() } else { figure(self.median()) }
    }
}

/// Three figures that count, thousands set apart.
pub fn figure(value: f64) -> String {
    match value {
        v if !v.is_finite() => "–".to_owned(),
        v if v < 9.995 => format!("{v:.2}"),
        v if v < 99.95 => format!("{v:.1}"),
        v => {
            let digits = format!("{v:.0}");
            let mut grouped = String::new();
            for (index, digit) in digits.chars().enumerate() {
                if index > 0 && (digits.len() - index).is_multiple_of(3) {
                    grouped.push(',');
                }
                grouped.push(digit);
            }
            grouped
        }
    }
}

/// How long single calls took.
#[derive(Clone, Debug, Default)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    pub fn push(&mut self, took: Duration) {
        self.0.push(took);
    }

    pub fn extend(&mut self, other: Latencies) {
        self.0.extend(other.0);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// In milliseconds, for several shares at once.
    pub fn percentiles<const N: usize>(mut self, shares: [f64; N]) -> [f64; N] {
        self.0.sort_unstable();
        shares.map(|share| {
            let last = self.0.len().saturating_sub(1);
            let index = ((self.0.len() as f64 * share) as usize).min(last);
            self.0.get(index).map_or(f64::NAN, |took| took.as_secs_f64() * 1e3)
        })
    }
}

/// p50, p95 and p99 in milliseconds over rounds.
#[derive(Clone, Debug, Default)]
pub struct Percentiles {
    pub p50: Rounds,
    pub p95: Rounds,
    pub p99: Rounds,
}

impl Percentiles {
    pub fn push(&mut self, latencies: Latencies) {
        let [p50, p95, p99] = latencies.percentiles([0.50, 0.95, 0.99]);
        self.p50.push(p50);
        self.p95.push(p95);
        self.p99.push(p99);
    }
}

/// A table in Markdown.
pub struct Table {
    title: String,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(title: &str, head: &[&str]) -> Table {
        Table { title: title.to_owned(), head: head.iter().map(|&cell| cell.to_owned()).collect(), rows: Vec::new() }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub fn to_markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule = format!("|{}\n", "---|".repeat(self.head.len()));
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("**{}**\n\n{}{rule}{rows}", self.title, line(&self.head))
    }
}

/// Where the figures come from; the load says how far to trust them.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        })
        .unwrap_or_else(|| "unknown CPU".to_owned());
    format!("{cores} cores, {model}, load average {}", load())
}

/// The load average of the last minute.
pub fn load() -> String {
    fs::read_to_string("/proc/loadavg")
        .ok()
        .and_then(|text| text.split(' ').next().map(str::to_owned))
        .unwrap_or_else(|| "unknown".to_owned())
}

/// The value after `--name` among the arguments.
pub fn argument<T: std::str::FromStr>(name: &str, default: T) -> anyhow::Result<T> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    if arguments.next().is_none() {
        return Ok(default);
    }
    let value = arguments.next().ok_or_else(|| anyhow::anyhow!("{name} needs a value"))?;
    value.parse().map_err(|_| anyhow::anyhow!("`{value}` is no value for {name}"))
}

/// A folder that goes with its owner. It is below the build's own, since the system's folder
/// for temporary files may be memory, where an fsync costs nothing.
pub fn folder() -> std::io::Result<tempfile::TempDir> {
    let parent = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(&parent)?;
    tempfile::tempdir_in(parent)
}
