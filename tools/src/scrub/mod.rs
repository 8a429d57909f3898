//! `aquifer scrub`: objects that no checkpoint names, such as those of engines that were killed
//! between an upload and the checkpoint that would have named it, and files that such engines were
//! writing.
//!
//! What is deleted was unnamed and old twice: when it was marked, and when handles and objects were
//! read once more right before. Ages are by the clock of who keeps the objects: one that was just
//! written tells what time it is there.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use aquifer::checkpoint::handle::Handle;
use aquifer::checkpoint::newest;
use aquifer::io::dfs::Dfs;
use aquifer::io::entropy;
use aquifer::io::stored::{DraftFile, Listed};
use aquifer::limits::{MANIFEST_BYTES_MAX, ROOT_SPACING, TRIAL_STORE};
use aquifer::lsm::manifest::Manifest;
use aquifer::types::{Incarnation, ObjectKind, ObjectName};
use clap::Args as ClapArgs;

use crate::objects::{Root, handles};
use crate::page::{Page, Row};
use crate::units::parse_span;

const EXAMPLES: &str = "\
Examples:
  aquifer scrub wordcount.job                    what could go
  aquifer scrub wordcount.job --delete           and it goes
  aquifer scrub a.handle b.handle --dfs s3://BUCKET/PREFIX --grace 7d

Name every handle that is still needed: of the stores whose objects these handles name, any object
that none of them names and that is older than the grace is an orphan. What a store keeps by roots
of its own is needed without being named. Files that were being written when their process ended,
and what trials of the DFS left that were interrupted, are orphans too. Engines may go on writing
there, as long as each store has a checkpoint among those named that began within the grace.

It ends with 0 if no orphan is left, with 1 if some are, and with 2 if it could not find out.";

/// Options of `aquifer scrub`.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// All handles that are needed: files of handles, job files of the word count, handles in
    /// hexadecimal, or roots of stores that keep their checkpoints: their paths, or their names
    /// below --dfs.
    #[arg(value_name = "HANDLE", required = true)]
    pub handles: Vec<String>,
    /// The root of the DFS [default: what the job files name, or where the roots lie].
    #[arg(long, value_name = "URL")]
    pub dfs: Option<String>,
    /// Leave what is younger; longer than any checkpoint takes.
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_span)]
    pub grace: Duration,
    /// Delete the orphans. Otherwise they are only named.
    #[arg(long)]
    pub delete: bool,
    /// Answer in JSON.
    #[arg(long)]
    pub json: bool,
}

/// What the handles keep, and in which stores.
struct Kept {
    names: HashSet<ObjectName>,
    stores: BTreeSet<u64>,
}

/// Looks for orphans, and deletes them if asked to; true if none is left.
///
/// # Errors
/// What kept it from finding out. Then nothing was deleted, or what was is no loss.
pub fn scrub(args: &Args) -> Result<bool> {
    let url = root_of(args)?;
    // Not to make the folder that it is to look into.
    Root::of_url(&url)?;
    let dfs = Dfs::open(&url)?;
    let mut orphans = look(args, &dfs).map_err(undecided)?;
    let mut deleted = 0;
    if args.delete && !orphans.is_empty() {
        let again = look(args, &dfs)?;
        orphans.retain(|path, _| again.contains_key(path));
        for orphan in orphans.values() {
            orphan.delete(&dfs)?;
            deleted += 1;
        }
    }
    let bytes: u64 = orphans.values().map(Orphan::bytes).sum();
    Page::print(args.json, |page| {
        page.field("dfs", &url[..])?;
        let row = |(path, orphan): (&String, &Orphan)| -> Row {
            vec![("object", path.clone().into()), ("bytes", orphan.bytes().into())]
        };
        page.rows("orphans", orphans.iter().map(row))?;
        page.field("bytes", bytes)?;
        Ok(page.field("deleted", deleted)?)
    })?;
    Ok(deleted == orphans.len())
}

/// Damage of what is kept answers nothing about orphans.
fn undecided(error: anyhow::Error) -> anyhow::Error {
    anyhow!(
        "which objects are needed cannot be told, and none was deleted: {error:#}. Name the newest \
         root of a store that keeps its checkpoints, and let those that are lost be named no more"
    )
}

/// The one root of all handles.
fn root_of(args: &Args) -> Result<String> {
    if let Some(url) = &args.dfs {
        return Ok(url.clone());
    }
    let mut roots = BTreeSet::new();
    for given in &args.handles {
        let named = handles::read(given, None)?.dfs;
        roots
            .insert(named.context(
                "a handle does not say where its objects are: name the root with --dfs",
            )?);
    }
    ensure!(roots.len() == 1, "the job files name several roots: scrub one at a time");
    Ok(roots.into_iter().next().expect("one"))
}

/// What nobody needs.
enum Orphan {
    Object(Listed),
    Draft(DraftFile),
}

impl Orphan {
    fn bytes(&self) -> u64 {
        match self {
            Self::Object(object) => object.bytes,
            Self::Draft(draft) => draft.bytes,
        }
    }

    fn delete(&self, dfs: &Dfs) -> Result<()> {
        match self {
            Self::Object(object) => {
                dfs.delete(&object.name)?;
                if object.name.store == TRIAL_STORE {
                    dfs.prune(&object.name);
                }
                Ok(())
            }
            Self::Draft(draft) => Ok(dfs.delete_draft(draft)?),
        }
    }
}

/// Objects that no handle names, and files that are none, by their paths: what is older than the
/// grace.
fn look(args: &Args, dfs: &Dfs) -> Result<BTreeMap<String, Orphan>> {
    let kept = kept(args, dfs)?;
    let now_s = time_there(dfs)?;
    let grace_s = i64::try_from(args.grace.as_secs()).unwrap_or(i64::MAX);
    let old = |written: i64| now_s - written > grace_s;
    let mut orphans = BTreeMap::new();
    let mut seen = 0;
    for store in kept.stores.iter().copied().chain([TRIAL_STORE]) {
        for object in dfs.list(store)? {
            seen += usize::from(kept.names.contains(&object.name));
            // Roots are the store's own to delete.
            let orphan = object.name.kind != ObjectKind::Root && !kept.names.contains(&object.name);
            if object.modified_s.is_some_and(old) && orphan {
                orphans.insert(object.name.to_string(), Orphan::Object(object));
            }
        }
        for draft in dfs.drafts(store)? {
            if old(draft.modified_s) {
                orphans.insert(draft.path.clone(), Orphan::Draft(draft));
            }
        }
    }
    // A list that lacks what is needed cannot be trusted with the rest.
    ensure!(
        seen == kept.names.len(),
        "{} of the {} objects that the handles name are not listed: see `aquifer verify`",
        kept.names.len() - seen,
        kept.names.len()
    );
    Ok(orphans)
}

fn kept(args: &Args, dfs: &Dfs) -> Result<Kept> {
    let mut kept = Kept { names: HashSet::new(), stores: BTreeSet::new() };
    for given in &args.handles {
        let handles = handles::read(given, args.dfs.as_deref())?.handles;
        ensure!(!handles.is_empty(), "{given} names no checkpoint yet");
        for (_, bytes) in handles {
            // The empty store, before its first checkpoint.
            if bytes.is_empty() {
                continue;
            }
            kept.keep(dfs, &Handle::decode(&bytes)?)?;
        }
    }
    kept.stores.extend(kept.names.iter().map(|name| name.store));
    for store in kept.stores.clone() {
        let newest = newest::find(dfs, store, ROOT_SPACING)?;
        for handle in newest.iter().flat_map(|root| &root.kept) {
            kept.keep(dfs, handle)?;
        }
    }
    Ok(kept)
}

impl Kept {
    fn keep(&mut self, dfs: &Dfs, handle: &Handle) -> Result<()> {
        let bytes_max = handle.manifest_bytes.min(MANIFEST_BYTES_MAX);
        let manifest = dfs.load(&handle.manifest, bytes_max)?;
        handle.verify(&manifest)?;
        let manifest = Manifest::decode(&handle.manifest, &manifest)?;
        self.names.insert(handle.manifest);
        self.names.extend(manifest.tables.iter().map(|table| table.name));
        Ok(())
    }
}

/// What time it is where the objects are, seconds since 1970.
fn time_there(dfs: &Dfs) -> Result<i64> {
    let incarnation = Incarnation { host_epoch: 0, nonce: entropy::nonce()? };
    let (store, kind, seq, rand) = (TRIAL_STORE, ObjectKind::Manifest, 0, entropy::seed()?);
    let name = ObjectName { store, incarnation, kind, seq, rand };
    dfs.put(&name, b"scrub")?;
    let listed = dfs.list(store);
    dfs.delete(&name)?;
    dfs.prune(&name);
    let found = listed?.into_iter().find(|object| object.name == name);
    match found.and_then(|object| object.modified_s) {
        Some(now_s) => Ok(now_s),
        None => bail!("it does not tell when objects were written, so none can be told to be old"),
    }
}

#[cfg(test)]
#[path = "scrub_tests.rs"]
mod tests;
