//! `aquifer import`: a checkpoint of what a dump holds.
//!
//! Every so many tables it keeps how far it is. An import that was interrupted reads the dump again
//! up to there, which costs little beside writing tables, and finds by its checksum that it is the
//! same dump.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use aquifer::checkpoint::handle::Handle;
use aquifer::io::dfs::Dfs;
use aquifer::io::retry::patiently;
use aquifer::limits::{MANIFEST_BYTES_MAX, TRIAL_STORE};
use aquifer::lsm::manifest::Manifest;
use clap::Args as ClapArgs;
use indicatif::ProgressBar;

use super::format::{Head, Place};
use super::loader::Loader;
use super::progress::Progress;
use super::{Reader, bar};
use crate::files::{self, write_atomically};
use crate::page::Page;
use crate::units::count_in;

const EXAMPLES: &str = "\
Examples:
  aquifer import state.dump --dfs file:///data/state --handle state.handle
  zstd -d < state.dump.zst | aquifer import - --dfs s3://BUCKET/PREFIX --handle state.handle

The handle opens stores of any parallelism. It is written when all of the dump was found whole and
lies on the DFS. Until then HANDLE.partial keeps how far the import is: the same command with the
same dump goes on from there, wherever it was interrupted. What was written behind it is left to
`aquifer scrub`, which goes by the numbers of stores: give each dump of a root another one.

It ends with 0 once the handle is there, with 1 if the dump is damaged, and with 2 if the import
could not be made.";

/// Options of `aquifer import`.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The dump; - is standard input.
    #[arg(value_name = "FILE")]
    pub from: PathBuf,
    /// The root of the DFS that is to hold the state.
    #[arg(long, value_name = "URL")]
    pub dfs: String,
    /// The file for the handle, which is not there yet.
    #[arg(long, value_name = "HANDLE")]
    pub handle: PathBuf,
    /// The number of the store, of which the names of its objects begin.
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = count_in::<u64>(0..=TRIAL_STORE - 1))]
    pub store: u64,
    /// Answer in JSON.
    #[arg(long)]
    pub json: bool,
}

/// How an import cuts what it writes.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// A table ends with the block in which it gets so large, bytes: two are in memory.
    pub table_bytes: u64,
    /// Tables that are written before the import keeps how far it is. Each time costs a manifest,
    /// which names all tables.
    pub tables_kept: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { table_bytes: 64 << 20, tables_kept: 16 }
    }
}

/// What became of an import.
#[derive(Debug)]
pub struct Imported {
    /// What the dump says before its rows.
    pub head: Head,
    /// The dump.
    pub place: Place,
    /// Blocks that an earlier import had brought.
    pub blocks_kept: u64,
    /// Tables of the checkpoint.
    pub tables: usize,
}

/// Imports; true when the handle is there.
///
/// # Errors
/// What kept it from that.
pub fn import(args: &Args) -> Result<bool> {
    let dfs = Dfs::open(&args.dfs)?;
    let done = if args.from == Path::new("-") {
        let input = BufReader::new(std::io::stdin().lock());
        let bar = bar("importing", None);
        load(input, &dfs, args.store, &args.handle, Sizes::default(), &bar)?
    } else {
        let shown = || format!("the dump {}", args.from.display());
        files::check(&args.from).with_context(shown)?;
        let file = File::open(&args.from).with_context(shown)?;
        let bar = bar("importing", file.metadata().ok().map(|found| found.len()));
        let input = BufReader::new(file);
        load(input, &dfs, args.store, &args.handle, Sizes::default(), &bar).with_context(shown)?
    };
    Page::print(args.json, |page| {
        page.field("handle", args.handle.display().to_string())?;
        page.field("store", args.store)?;
        page.field("key_groups", format!("{} to {}", done.head.range.0, done.head.range.1))?;
        page.field("maximal_parallelism", done.head.key_groups)?;
        page.field("states", done.head.states.len())?;
        page.field("rows", done.place.rows)?;
        page.field("blocks", done.place.blocks)?;
        page.field("blocks_of_an_earlier_import", done.blocks_kept)?;
        page.field("bytes", done.place.bytes)?;
        Ok(page.field("tables", done.tables)?)
    })?;
    Ok(true)
}

/// Loads a dump onto a DFS, and writes the handle of its checkpoint when all of it is there; goes
/// on with what an earlier import of the same dump has kept.
///
/// # Errors
/// `Corrupt` for a dump that is not whole; the handle is there already; what was kept is of another
/// dump, or not on the DFS; those of the file system and of the DFS.
pub fn load(
    input: impl Read,
    dfs: &Dfs,
    store: u64,
    handle: &Path,
    sizes: Sizes,
    bar: &ProgressBar,
) -> Result<Imported> {
    let (shown, folder) = (handle.display(), handle.parent());
    ensure!(!handle.exists(), "{shown} is there already: remove it, or name another file");
    // Not to be found out when all is done.
    let there = folder.is_none_or(|folder| folder.as_os_str().is_empty() || folder.is_dir());
    ensure!(there, "there is no folder for {shown}");
    let progress = Progress::of(handle);
    let kept = progress.read()?;
    let mut reader = Reader::open(input)?;
    let mut loader = Loader::new(dfs.clone(), store, reader.head())?;
    let (mut last, mut blocks_kept) = (None, 0);
    if let Some((place, bytes)) = kept {
        skip(&mut reader, place, &progress, bar)?;
        let (kept, manifest) = checkpoint(dfs, &bytes).with_context(|| progress.remedy())?;
        loader.go_on(manifest);
        (last, blocks_kept) = (Some(kept), place.blocks);
    }
    let mut tables_kept = loader.tables();
    while reader.block(&mut |key, value| loader.row(key, value))? {
        bar.set_position(reader.place().bytes);
        if loader.open_bytes() < sizes.table_bytes {
            continue;
        }
        loader.end_table()?;
        if loader.tables() - tables_kept >= sizes.tables_kept {
            tables_kept = loader.tables();
            let next = loader.checkpoint()?;
            progress.write(reader.place(), &next.encode())?;
            last.replace(next).map_or(Ok(()), |before| loader.give_up(&before))?;
        }
    }
    let whole = loader.checkpoint()?;
    let written = write_atomically(handle, &whole.encode());
    written.with_context(|| format!("writing the handle {shown}"))?;
    progress.remove()?;
    last.map_or(Ok(()), |before| loader.give_up(&before))?;
    bar.finish_and_clear();
    let (head, place) = (reader.head().clone(), reader.place());
    Ok(Imported { head, place, blocks_kept, tables: loader.tables() })
}

/// Reads a dump up to a place, if it is the dump that this place is of.
fn skip<R: Read>(
    reader: &mut Reader<R>,
    to: Place,
    progress: &Progress,
    bar: &ProgressBar,
) -> Result<()> {
    while reader.place().blocks < to.blocks && reader.block(&mut |_, _| Ok(()))? {
        bar.set_position(reader.place().bytes);
    }
    let same = reader.place() == to;
    ensure!(same, "an import of another dump was interrupted here; {}", progress.remedy());
    Ok(())
}

fn checkpoint(dfs: &Dfs, handle: &[u8]) -> Result<(Handle, Manifest)> {
    let handle = Handle::decode(handle)?;
    let bytes_max = handle.manifest_bytes.min(MANIFEST_BYTES_MAX);
    let bytes = patiently(|| dfs.load(&handle.manifest, bytes_max))?;
    handle.verify(&bytes)?;
    let manifest = Manifest::decode(&handle.manifest, &bytes)?;
    Ok((handle, manifest))
}

#[cfg(test)]
#[path = "import_tests.rs"]
mod tests;
