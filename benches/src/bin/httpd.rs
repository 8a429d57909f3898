//! Serves the files of a folder by ranged GETs, with latency: what an object store looks like to
//! its readers. Tells its url on the standard output, then serves until it is ended.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use aquifer_benches::httpd::{Config, run};
use clap::Parser;

#[derive(Debug, Parser)]
#[command(about = "Serves the files of a folder by ranged GETs")]
struct Args {
    /// The folder.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    /// What each answer takes longer, milliseconds, and up to one more.
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// Speak TLS, and write the certificate, which is made for this, to this file.
    #[arg(long)]
    tls: Option<PathBuf>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let latency = Duration::from_millis(args.latency_ms);
    run(&args.listen, &Config { folder: args.dir, latency, certificate: args.tls })
}
