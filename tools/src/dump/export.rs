//! `aquifer export`: what checkpoints hold, as a dump.
//!
//! A dump depends on the checkpoints alone, so an export that was interrupted goes on behind the
//! last whole block of what it left. What is left is named after the checkpoints: nothing else is
//! gone on with.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use aquifer::types;
use clap::Args as ClapArgs;
use indicatif::ProgressBar;

use super::format::Place;
use super::{Reader, Source, Writer, bar};
use crate::files::{beside, sync_folder_of};
use crate::objects::{Root, handles, is_damage};
use crate::page::Page;

const EXAMPLES: &str = "\
Examples:
  aquifer export wordcount.job --to words.dump
  aquifer export a.handle b.handle --dfs s3://BUCKET/PREFIX --to state.dump
  aquifer export data/aquifer.handle --dfs data/dfs --to - | zstd > state.dump.zst

Name the handles of all stores that the state lies in: they hold each key group once. Of a job file
or a root the last checkpoint is taken. The checkpoints must be kept until the export has ended.

Until then the dump is FILE.DIGEST.partial, where DIGEST is of the handles; the same command goes on
behind its last whole block, wherever it was interrupted. What goes to standard output begins anew.

It ends with 0 once the dump is whole, with 1 if something of the checkpoints is damaged or missing,
and with 2 if the dump could not be made.";

/// Options of `aquifer export`.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Files of handles, a job file of the word count, handles in hexadecimal, or roots of stores
    /// that keep their checkpoints: their paths, or their names below --dfs.
    #[arg(value_name = "HANDLE", required = true)]
    pub handles: Vec<String>,
    /// The root of the DFS [default: what the job file names, or where the root lies].
    #[arg(long, value_name = "URL")]
    pub dfs: Option<String>,
    /// The dump to write, which is not there yet; - is standard output.
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,
    /// Answer in JSON; a dump on standard output has no answer beside it.
    #[arg(long)]
    pub json: bool,
}

/// What became of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exported {
    /// The dump.
    pub place: Place,
    /// Blocks of it that an earlier export had left.
    pub blocks_left: u64,
}

/// Exports; true when the dump is whole.
///
/// # Errors
/// What kept it from that.
pub fn export(args: &Args) -> Result<bool> {
    let (dfs, handles) = given(args)?;
    let source = Source::load(Root::of_url(&dfs)?, &handles)?;
    let bar = bar("exporting", None);
    if args.to == Path::new("-") {
        to_output(&source, std::io::stdout().lock(), &bar)?;
        return Ok(true);
    }
    let done = to_file(&source, &args.to, &bar)?;
    Page::print(args.json, |page| {
        let head = source.head();
        page.field("dump", args.to.display().to_string())?;
        page.field("key_groups", format!("{} to {}", head.range.0, head.range.1))?;
        page.field("maximal_parallelism", head.key_groups)?;
        page.field("states", head.states.len())?;
        page.field("rows", done.place.rows)?;
        page.field("blocks", done.place.blocks)?;
        page.field("blocks_of_an_earlier_export", done.blocks_left)?;
        Ok(page.field("bytes", done.place.bytes)?)
    })?;
    Ok(true)
}

/// The DFS and the handles that are named.
fn given(args: &Args) -> Result<(String, Vec<Vec<u8>>)> {
    let (mut roots, mut all) = (BTreeSet::new(), Vec::new());
    for given in &args.handles {
        let mut named = handles::read(given, args.dfs.as_deref())?;
        if let Some(root) = named.dfs {
            roots.insert(root);
            let last = named.handles.pop().filter(|(_, handle)| !handle.is_empty());
            named.handles = vec![last.with_context(|| format!("{given} names no checkpoint yet"))?];
        }
        all.extend(named.handles.into_iter().map(|(_, handle)| handle));
    }
    let dfs = match &args.dfs {
        Some(dfs) => dfs.clone(),
        None => {
            ensure!(roots.len() <= 1, "the job files name several roots: give the one with --dfs");
            let named = roots.pop_first();
            named
                .context("a handle does not say where its objects are: name the root with --dfs")?
        }
    };
    Ok((dfs, all))
}

/// Writes a dump front to back.
///
/// # Errors
/// Those of the source, and of the output.
pub fn to_output(source: &Source, out: impl Write, bar: &ProgressBar) -> types::Result<Place> {
    dump(source, Writer::create(out, source.head())?, &[], bar).map(|(_, place)| place)
}

/// Writes a dump into a file, which has its name only when it is whole; goes on with what an
/// earlier export of the same checkpoints has left.
///
/// # Errors
/// The file is there, or another export writes it; those of the source, and of the file system.
pub fn to_file(source: &Source, path: &Path, bar: &ProgressBar) -> Result<Exported> {
    let shown = path.display();
    ensure!(!path.exists(), "{shown} is there already: remove it, or name another file");
    let partial = beside(path, &format!(".{:016x}.partial", source.digest()));
    let opened = File::options().read(true).append(true).create(true).open(&partial);
    let file = opened.with_context(|| format!("opening {}", partial.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => bail!("another export writes {shown}: wait for its end"),
        Err(TryLockError::Error(e)) => {
            return Err(e).with_context(|| format!("locking {}", partial.display()));
        }
    }
    let written = "writing the dump";
    let left = Left::of(source, &file)?;
    let place = if left.ended {
        left.place
    } else {
        file.set_len(left.place.bytes).context(written)?;
        let writer = match left.place.bytes {
            0 => Writer::create(&file, source.head())?,
            _ => Writer::resume(&file, source.head(), left.place, &left.last),
        };
        dump(source, writer, &left.last, bar)?.1
    };
    file.sync_all().context(written)?;
    fs::rename(&partial, path).and_then(|()| sync_folder_of(path)).context(written)?;
    Ok(Exported { place, blocks_left: left.place.blocks })
}

fn dump<W: Write>(
    source: &Source,
    mut writer: Writer<W>,
    behind: &[u8],
    bar: &ProgressBar,
) -> types::Result<(W, Place)> {
    source.rows(behind, &mut |key, value| {
        let blocks = writer.place().blocks;
        writer.row(key, value)?;
        if writer.place().blocks > blocks {
            bar.set_position(writer.place().bytes);
        }
        Ok(())
    })?;
    let done = writer.finish()?;
    bar.finish_and_clear();
    Ok(done)
}

/// What an export that was interrupted has left, as far as it is whole.
#[derive(Default)]
struct Left {
    place: Place,
    last: Vec<u8>,
    /// Nothing is missing but the name.
    ended: bool,
}

impl Left {
    fn of(source: &Source, file: &File) -> Result<Self> {
        let mut left = Self::default();
        let mut reader = match Reader::open(BufReader::new(file)) {
            Ok(reader) if reader.head() == source.head() => reader,
            // Nothing, or not even its head.
            Err(error) if !is_damage(&error) => return Err(error.into()),
            _ => return Ok(left),
        };
        loop {
            left.place = reader.place();
            left.last.clear();
            left.last.extend_from_slice(reader.last());
            match reader.block(&mut |_, _| Ok(())) {
                Ok(true) => {}
                Ok(false) => {
                    left.ended = true;
                    left.place = reader.place();
                    return Ok(left);
                }
                Err(error) if is_damage(&error) => return Ok(left),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
#[path = "export_tests.rs"]
mod tests;
