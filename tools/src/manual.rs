//! Manual pages and shell completions, made from the command line itself.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args as ClapArgs, Command};
use clap_complete::Shell;

/// Options of `aquifer man`.
#[derive(Clone, Debug, ClapArgs)]
pub struct ManArgs {
    /// The folder; it is made if it is not there.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}

/// Options of `aquifer completions`.
#[derive(Clone, Debug, ClapArgs)]
pub struct CompletionArgs {
    /// The shell.
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// Writes `aquifer.1`, `aquifer-bench.1` and so on.
///
/// # Errors
/// The file system's refusal.
pub fn man(command: Command, args: &ManArgs) -> Result<()> {
    let folder = &args.folder;
    let mut command = command.disable_help_subcommand(true);
    // Gives options the values that they are shown with.
    command.build();
    fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(spelled_out(command, ""), folder))
        .with_context(|| format!("writing the pages into {}", folder.display()))
}

/// The command with a usage that names each option with its value, for the synopses; `words` stand
/// before its name.
fn spelled_out(command: Command, words: &str) -> Command {
    let words = format!("{words}{}", command.get_name());
    let mut usage = words.clone();
    let (positional, options): (Vec<_>, Vec<_>) =
        command.get_arguments().partition(|arg| arg.is_positional());
    options.iter().for_each(|option| usage += &format!(" [{option}]"));
    positional.iter().for_each(|value| usage += &format!(" {value}"));
    if command.has_subcommands() {
        usage += " <COMMAND>";
    }
    let words = words + " ";
    command.override_usage(usage).mut_subcommands(|below| spelled_out(below, &words))
}

/// Prints what a shell sources to complete the command line.
///
/// # Errors
/// The output's refusal.
pub fn completions(command: &mut Command, args: &CompletionArgs) -> Result<()> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, name, &mut script);
    std::io::Write::write_all(&mut std::io::stdout(), &script).context("printing the completions")
}
