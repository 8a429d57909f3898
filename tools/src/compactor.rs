//! `aquifer compactor`: merges for engines on other machines, and how a command that opens an
//! engine names its compactors.

use std::path::PathBuf;

use anyhow::Result;
use aquifer::io::wire::SECRET_VARIABLE;
use aquifer::limits::{COMPACTOR_MEMORY_BYTES, COMPACTOR_MERGES_MAX};
use aquifer::shard::compactor::{Compactor, CompactorConfig};
use clap::Args as ClapArgs;
use serde::{Deserialize, Serialize};

use crate::io::Io;
use crate::objects::Root;
use crate::units::{count_in, parse_size};

const EXAMPLES: &str = "\
Examples:
  openssl rand -hex 32 > secret
  aquifer compactor --dfs /mnt/state --secret-file secret
  aquifer bench load,get --dfs /mnt/state --compactors 127.0.0.1:7070 --secret-file secret

Engines send their merges here and go on by themselves whenever this process is busy, stopped, lost
or wrong, so it may be killed and started at any time, and any number of engines may share any
number of compactors. It reads and writes the DFS of its engines and deletes nothing there. What
crosses the network is encrypted and authenticated with the secret, without which it takes no
errand; whoever has the secret can have tables written under any name, so give it to engines alone.
Run engines and compactors from the same release.";

/// Options of `aquifer compactor`.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Where to listen; port 0 is any that is free. Beyond this machine: an address of a network
    /// that engines are on, such as 10.0.0.7:7070.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7070")]
    pub listen: String,
    /// The DFS of the engines: a folder, or a url such as s3://BUCKET/PREFIX.
    #[arg(long, value_name = "URL")]
    pub dfs: String,
    /// The file of the secret that engines have too [default: AQUIFER_COMPACTOR_SECRET holds it].
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// Merges at once [default: one for each core].
    #[arg(long, value_name = "N", value_parser = count_in::<u32>(1..=COMPACTOR_MERGES_MAX as u64))]
    pub merges: Option<u32>,
    /// Memory that merges may hold, shared evenly [default: 256M for each].
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub memory: Option<u64>,
    /// The way to the disk.
    #[arg(long, value_enum, default_value_t = Io::Auto, env = "AQUIFER_IO")]
    pub io: Io,
}

/// Serves engines until the process ends.
///
/// # Errors
/// With cause and remedy, if it cannot.
pub fn compactor(args: &Args) -> Result<()> {
    let mut config = CompactorConfig::new(&args.listen, &args.dfs);
    if let Some(merges) = args.merges {
        config.merges = merges as usize;
        config.memory_bytes = config.merges * COMPACTOR_MEMORY_BYTES;
    }
    if let Some(bytes) = args.memory {
        config.memory_bytes = usize::try_from(bytes)?;
    }
    config.secret_file.clone_from(&args.secret_file);
    config.io = args.io.into();
    // Not to make the folder of a file system that is not mounted.
    Root::of_url(&config.dfs)?;
    let compactor = Compactor::start(&config)?;
    eprintln!(
        "compactor on {}: {} merges at once, state on {}",
        compactor.address()?,
        config.merges,
        config.dfs
    );
    Ok(compactor.serve()?)
}

/// The compactors of an engine that a command opens.
#[derive(Clone, Debug, Default, ClapArgs, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Compactors {
    /// Send merges to these compactors (`aquifer compactor`), with commas between several
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub compactors: Vec<String>,
    /// The file of the compactors' secret [default: AQUIFER_COMPACTOR_SECRET holds it]
    #[arg(long, value_name = "FILE", requires = "compactors")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
}

// The help texts name it.
const _: () = assert!(matches!(SECRET_VARIABLE.as_bytes(), b"AQUIFER_COMPACTOR_SECRET"));
