//! The report as one page for a browser: it loads nothing, and runs nothing.

mod chart;

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use self::chart::{Axis, Line, chart, shown};
use super::report::{PhaseReport, RunReport, Sample};

const MIB: f64 = (1 << 20) as f64;

const STYLE: &str = "\
:root { color-scheme: light dark; --text: #1b1f24; --faint: #d4d8dd; --page: #fff;
  --c0: #0b62c4; --c1: #c2410c; --c2: #6b21a8; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e2e5e9; --faint: #3a4048; --page: #14171a;
    --c0: #6cb2ff; --c1: #ff9d5c; --c2: #c99bff; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--page);
  max-width: 1040px; margin: 2em auto; padding: 0 1em; }
pre { border: 1px solid var(--faint); padding: .6em; overflow-x: auto; white-space: pre-wrap; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: .15em .8em .15em 0; text-align: right; }
td:first-child, th:first-child, td.text { text-align: left; }
tr { border-bottom: 1px solid var(--faint); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(400px, 1fr)); gap: 1em; }
svg text { font-size: 11px; fill: var(--text); }
svg .title { font-weight: bold; }
svg .name { text-anchor: end; }
.grid { stroke: var(--faint); fill: none; }
.line { fill: none; stroke-width: 1.6; }
.line-0 { stroke: var(--c0); } .line-1 { stroke: var(--c1); } .line-2 { stroke: var(--c2); }
svg .dot-0 { fill: var(--c0); } svg .dot-1 { fill: var(--c1); } svg .dot-2 { fill: var(--c2); }
";

/// Writes the page of a run that this process has made.
///
/// # Errors
/// The file system's refusal.
pub fn write(report: &RunReport, path: &Path) -> Result<()> {
    let words: Vec<String> = std::env::args().map(|word| quoted(&word)).collect();
    fs::write(path, page(report, &words.join(" ")))
        .with_context(|| format!("the report {} cannot be written", path.display()))
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,%+@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// The page; `command` made the run.
fn page(report: &RunReport, command: &str) -> String {
    let about = &report.environment;
    let title = escaped(&format!("aquifer bench, {}", about.started_at));
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width\"/>\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n\
         <pre>{}</pre>\n",
        escaped(command)
    );
    summary(&mut out, &report.phases);
    report.phases.iter().for_each(|phase| section(&mut out, phase));
    out += "<h2>Environment</h2>\n";
    fields(&mut out, &serde_json::to_value(about).unwrap_or_default());
    out += "<h2>Options</h2>\n";
    fields(&mut out, &serde_json::to_value(&report.options).unwrap_or_default());
    for (engine, settings) in &report.settings {
        let _infallible = writeln!(out, "<h2>Settings of {}</h2>", escaped(engine));
        fields(&mut out, &serde_json::to_value(settings).unwrap_or_default());
    }
    out + "</body>\n</html>\n"
}

fn summary(out: &mut String, phases: &[PhaseReport]) {
    *out += "<table>\n<tr>";
    for head in [
        "phase",
        "engine",
        "round",
        "ops/s",
        "CPU us/op",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "reads/op",
        "pause ms",
        "RSS MiB",
    ] {
        let _infallible = write!(out, "<th>{head}</th>");
    }
    *out += "</tr>\n";
    for phase in phases {
        let latency = &phase.latency_us;
        let reads = phase.device.reads_per_op;
        let cells = [
            escaped(&phase.name),
            escaped(&phase.engine),
            phase.round.to_string(),
            format!("{:.0}", phase.ops_per_s),
            format!("{:.2}", phase.cpu_us_per_op),
            format!("{:.1}", latency.p50),
            format!("{:.1}", latency.p99),
            format!("{:.1}", latency.p99_9),
            reads.map_or("-".to_owned(), |reads| format!("{reads:.2}")),
            format!("{:.1}", phase.longest_pause_ms),
            format!("{:.0}", phase.rss_bytes_max as f64 / MIB),
        ];
        let _infallible = writeln!(out, "<tr><td>{}</td></tr>", cells.join("</td><td>"));
    }
    *out += "</table>\n";
}

/// The pictures of a phase.
fn section(out: &mut String, phase: &PhaseReport) {
    let PhaseReport { name, engine, round, .. } = phase;
    let what = escaped(&format!("{name} of {engine}, round {round}"));
    let _infallible = writeln!(
        out,
        "<section>\n<h2>{what}</h2>\n<p>{} operations in {:.1} s, keys {}, batch {}, in flight {}\
         </p>\n<div class=\"charts\">",
        phase.ops,
        phase.seconds,
        escaped(&phase.dist),
        phase.batch,
        phase.in_flight
    );
    let end = phase.samples.last().map_or(1.0, |sample| sample.at_s);
    let time = Axis::linear(end);
    let line = |name, of: fn(&Sample) -> f64| Line {
        name,
        points: phase.samples.iter().map(|sample| (sample.at_s, of(sample))).collect(),
    };
    let rate = [line("ops/s", |sample| sample.ops_per_s)];
    *out += &chart("operations a second, over seconds", (&time, &linear(&rate)), &rate);
    let latency = [
        line("p50", |sample| sample.p50_us),
        line("p99", |sample| sample.p99_us),
        line("max", |sample| sample.max_us),
    ];
    *out += &chart("latency, us, over seconds", (&time, &log(&latency)), &latency);
    let tail = |[quantile, us]: &[f64; 2]| (1.0 / (1.0 - quantile), *us);
    let points: Vec<(f64, f64)> = phase.latency_spectrum_us.iter().map(tail).collect();
    let decades = points.last().map_or(1, |(tail, _)| tail.log10().ceil().max(1.0) as i32);
    let spectrum = [Line { name: "all", points }];
    let tails = Axis::tails(decades);
    *out += &chart("latency, us, by quantile", (&tails, &log(&spectrum)), &spectrum);
    let budget = phase.budget_bytes as f64 / MIB;
    let memory = [
        line("resident", |sample| sample.rss_bytes as f64 / MIB),
        Line { name: "budget", points: vec![(0.0, budget), (end, budget)] },
    ];
    *out += &chart("memory, MiB, over seconds", (&time, &linear(&memory)), &memory);
    *out += "</div>\n";
    if let Some(note) = phase.note() {
        let _infallible = writeln!(out, "<p>{}</p>", escaped(&note));
    }
    *out += "</section>\n";
}

fn heights<'a>(lines: &'a [Line<'_>]) -> impl Iterator<Item = f64> + 'a {
    lines.iter().flat_map(|line| &line.points).map(|(_, height)| *height)
}

fn linear(lines: &[Line<'_>]) -> Axis {
    Axis::linear(heights(lines).fold(0.0, f64::max))
}

fn log(lines: &[Line<'_>]) -> Axis {
    let known = || heights(lines).filter(|height| *height > 0.0);
    let (min, max) = (known().fold(f64::MAX, f64::min), known().fold(0.0, f64::max));
    if max == 0.0 { Axis::log(1.0, 10.0) } else { Axis::log(min, max) }
}

/// The fields of an object as a table.
fn fields(out: &mut String, object: &Value) {
    *out += "<table>\n";
    for (name, value) in object.as_object().into_iter().flatten() {
        let value = match value {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            Value::Number(number) if name.ends_with("bytes") => {
                format!("{}B", shown(number.as_f64().unwrap_or_default()))
            }
            other => other.to_string(),
        };
        let (name, value) = (escaped(name), escaped(&value));
        let _infallible = writeln!(out, "<tr><td>{name}</td><td class=\"text\">{value}</td></tr>");
    }
    *out += "</table>\n";
}

/// Text as HTML takes it.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            // Not even as a reference do pages take these.
            c if c.is_control() && c != '\n' => out.push(char::REPLACEMENT_CHARACTER),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
#[path = "html_tests.rs"]
mod tests;
