//! Manual pages and completions, against what the command line says of itself.

use std::fs;
use std::path::Path;
use std::process::Command;

fn aquifer(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_aquifer")).args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The commands that a help text lists.
fn commands(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.is_empty());
    let names = listed.filter_map(|line| line.split_whitespace().next().map(str::to_owned));
    names.filter(|name| name != "help").collect()
}

/// Every command below these words, by the name of its page.
fn tree(words: &[&str], found: &mut Vec<String>) {
    let help = aquifer(&[words, &["--help"]].concat());
    found.push([&["aquifer"], words].concat().join("-"));
    for command in commands(&help) {
        tree(&[words, &[&command[..]]].concat(), found);
    }
}

#[test]
fn each_command_has_a_page_with_its_options() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("share/man1");
    aquifer(&["man", pages.to_str().unwrap()]);
    let mut found = Vec::new();
    tree(&[], &mut found);
    for name in ["aquifer", "aquifer-run-wordcount", "aquifer-bench", "aquifer-man"] {
        assert!(found.iter().any(|other| other == name), "{found:?}");
    }
    for name in &found {
        let page = page(&pages, name);
        assert!(page.contains(&format!(".SH NAME\n{}", name.replace('-', "\\-"))), "{page}");
        let own = aquifer(&[&name.split('-').skip(1).collect::<Vec<_>>()[..], &["-h"]].concat());
        let synopsis = page.split(".SH ").find(|part| part.starts_with("SYNOPSIS")).unwrap();
        for value in own.lines().filter_map(value_of) {
            assert!(synopsis.contains(&value.replace('-', "\\-")), "{value}: {synopsis}");
        }
        let own = own.lines().filter_map(|line| line.trim_start().strip_prefix("--"));
        for option in own.map(|rest| rest.split([' ', '[']).next().unwrap_or_default()) {
            assert!(page.contains(&option.replace('-', "\\-")), "{name}: --{option} is missing");
        }
    }
    assert_eq!(fs::read_dir(&pages).unwrap().count(), found.len(), "a page of no command");
}

/// The option and its value that a line of a help text begins with.
fn value_of(line: &str) -> Option<&str> {
    let from = line.find("--").filter(|_| line.trim_start().starts_with('-'))?;
    let end = line[from..].find('>')?;
    Some(&line[from..=from + end])
}

fn page(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(format!("{name}.1"))).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn each_shell_completes_each_command() {
    let mut found = Vec::new();
    tree(&[], &mut found);
    for shell in ["bash", "zsh", "fish"] {
        let script = aquifer(&["completions", shell]);
        for name in &found {
            assert!(script.contains(name.rsplit('-').next().unwrap()), "{shell}: {name}");
        }
        for option in ["in-flight", "threshold", "checkpoint-every", "deep"] {
            assert!(script.contains(option), "{shell}: --{option}");
        }
    }
}
