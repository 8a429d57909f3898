use std::collections::BTreeMap;

use clap::Parser;
use roxmltree::{Document, ParsingOptions};

use super::{page, quoted};
use crate::load::{About, Environment, LoadArgs, PhaseReport, RunReport, SCHEMA};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    load: LoadArgs,
}

fn phase(name: &str, round: u32, seconds: u32) -> PhaseReport {
    let samples: Vec<_> = (1..=seconds)
        .map(|s| {
            serde_json::json!({"at_s": s, "ops_per_s": 1000 * s, "p50_us": 10, "p99_us": 90,
                "max_us": 800, "rss_bytes": 50_000_000})
        })
        .collect();
    let text = serde_json::json!({
        "name": name, "engine": "a<b>&\"c\"", "round": round, "dist": "uniform", "batch": 1,
        "in_flight": 1, "ops": 1, "seconds": 1.0, "ops_per_s": 5, "cpu_us_per_op": 2.0,
        "latency_us":
            {"p50": 1.0, "p90": 1.0, "p99": 1.0, "p99_9": 1.0, "p99_99": 1.0, "max": 1.0},
        "latency_spectrum_us": [[0.0, 3.0], [0.9, 40.0], [0.99, 70.0]], "samples": samples,
        "wrong": 0, "missing": 0, "block_device": null, "dfs": null, "write_amplification": null,
        "device": {"reads_per_op": null, "read_bytes_per_op": 1.0, "write_bytes_per_op": 1.0},
        "space_amplification": 1.0, "rss_bytes_max": 1, "budget_bytes": 1,
        "longest_pause_ms": 1.0, "drain_ms": null, "counters": {}
    });
    serde_json::from_value(text).unwrap()
}

fn report(phases: Vec<PhaseReport>) -> RunReport {
    RunReport {
        schema: SCHEMA.to_owned(),
        environment: Environment::of(std::path::Path::new("/"), &About::default()),
        options: Cli::parse_from(["bench", "get", "--json", "a & b"]).load,
        data_bytes: 1,
        settings: BTreeMap::from([("a".to_owned(), BTreeMap::new())]),
        phases,
    }
}

#[test]
fn the_page_is_whole_and_has_a_line_of_each_series() {
    let run = report(vec![phase("load", 1, 3), phase("get", 2, 7), phase("put", 1, 0)]);
    let html = page(&run, "aquifer bench 'a & b' <x>");
    assert!(html.starts_with("<!DOCTYPE html>\n"));
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    let page = Document::parse_with_options(&html, options).unwrap();
    let all = |tag: &'static str| page.descendants().filter(move |node| node.has_tag_name(tag));
    let sections: Vec<_> = all("section").collect();
    assert_eq!(sections.len(), 3);
    for (section, (what, seconds)) in
        sections.iter().zip([("load of", 3), ("get of", 7), ("put of", 0)])
    {
        let title = section.descendants().find_map(|n| n.text().filter(|t| t.contains(" of ")));
        assert!(title.unwrap().starts_with(what), "{title:?}");
        let lines = section
            .descendants()
            .filter(|node| node.attribute("class").is_some_and(|class| class.starts_with("line ")));
        let points: Vec<usize> = lines
            .map(|line| line.attribute("points").unwrap().split_whitespace().count())
            .collect();
        // The rate; p50, p99 and the most; the spectrum; resident memory and its budget.
        assert_eq!(points, [seconds, seconds, seconds, seconds, 3, seconds, 2], "{what}");
    }
    assert!(all("pre").any(|node| node.text() == Some("aquifer bench 'a & b' <x>")));
    assert!(all("td").any(|node| node.text() == Some("a & b")), "the options");
}

#[test]
fn the_page_loads_and_runs_nothing() {
    let html = page(&report(vec![phase("get", 1, 2)]), "aquifer");
    for word in ["<script", "http", "src=", "href=", "url(", "@import", "onload"] {
        assert!(!html.contains(word), "{word}");
    }
    for word in ["prefers-color-scheme: dark", "color-scheme: light dark"] {
        assert!(html.contains(word), "{word}");
    }
}

#[test]
fn words_are_quoted_for_a_shell() {
    let words = [("a-b/c.d", "a-b/c.d"), ("", "''"), ("a b", "'a b'"), ("it's", "'it'\\''s'")];
    for (word, want) in words {
        assert_eq!(quoted(word), want);
    }
}
