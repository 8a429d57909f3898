//! The DFS: can it be reached and written, how long that takes, and how its files are read.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Instant;

use aquifer::io::dfs::Dfs;
use aquifer::io::entropy;
use aquifer::io::url::{self, Place};
use aquifer::limits::PAGE_BYTES;
use aquifer::mem::pool::Buf;
use aquifer::types::{Incarnation, ObjectKind, ObjectName, Result};

use super::Finding;
use crate::load::filesystem;

/// Sizes at which direct reads are tried, bytes.
const ALIGNMENTS: [usize; 4] = [512, 1024, 2048, PAGE_BYTES];

pub(super) fn findings(url: &str) -> Vec<Finding> {
    let what = "DFS";
    let root = match url::parse(url).map(|parsed| parsed.place) {
        Ok(Place::Folder(root)) => Some(root),
        Ok(Place::Memory(_) | Place::Remote(_)) => None,
        Err(error) => return vec![Finding::not(what, error.text.to_string(), "write another url")],
    };
    // An engine would make it, on whatever file system lies there.
    if let Some(root) = root.as_deref().filter(|root| !root.is_dir()) {
        let is = if root.exists() { "is not a folder" } else { "is not there" };
        let advice = "make the folder, or mount what belongs there, and ask again";
        return vec![Finding::not(what, format!("{} {is}", root.display()), advice)];
    }
    let mut findings = vec![match round_trip(url, root.as_deref()) {
        Ok(took) => Finding::well(what, format!("{url}: {took}")),
        Err(error) => {
            let advice = "nothing can be flushed or restored: check the url, the mount, its \
                          permissions and its free space";
            return vec![Finding::not(what, format!("{url}: {}", error.text), advice)];
        }
    }];
    if let Some(root) = root {
        let kind = filesystem(&root).unwrap_or_else(|| "unknown".to_owned());
        findings.push(Finding::well("file system", kind));
        findings.push(direct(&root));
    }
    findings
}

/// Writes, reads and deletes a small object: how long each took. Whether it succeeds or fails, it
/// leaves nothing.
fn round_trip(url: &str, root: Option<&Path>) -> Result<String> {
    let dfs = Dfs::open(url)?;
    let incarnation = Incarnation { host_epoch: 0, nonce: entropy::nonce()? };
    let (store, kind, seq, rand) = (u64::MAX, ObjectKind::Manifest, 0, entropy::seed()?);
    let name = ObjectName { store, incarnation, kind, seq, rand };
    let done = put_get_delete(&dfs, &name);
    if let Some(root) = root {
        let path = root.join(name.to_string());
        // It is there only if its deletion failed; a folder that holds something else stays.
        let _deleted = fs::remove_file(&path);
        for folder in path.ancestors().skip(1).take_while(|folder| *folder != root) {
            let _in_use = fs::remove_dir(folder);
        }
    }
    done
}

fn put_get_delete(dfs: &Dfs, name: &ObjectName) -> Result<String> {
    let mut last = Instant::now();
    let mut lap = || {
        let ms = last.elapsed().as_secs_f64() * 1e3;
        last = Instant::now();
        ms
    };
    dfs.put(name, &[7; PAGE_BYTES])?;
    let put = lap();
    let read = dfs.load(name, PAGE_BYTES as u64);
    let get = lap();
    dfs.delete(name)?;
    let delete = lap();
    if read? != [7; PAGE_BYTES] {
        return Err(aquifer::types::Error::corrupt("what was read is not what was written"));
    }
    Ok(format!("put in {put:.1} ms, got in {get:.1} ms, deleted in {delete:.1} ms"))
}

/// Whether files can be read past the page cache, and how they must be aligned for that.
fn direct(root: &Path) -> Finding {
    let what = "direct reads (O_DIRECT)";
    match alignment(root) {
        Ok(Some(bytes)) => Finding::well(what, format!("aligned to {bytes} bytes")),
        Ok(None) => Finding::badly(
            what,
            "refused",
            "files are read and written through the page cache, whose memory no budget bounds; \
             put the DFS root on ext4, xfs, btrfs or nfs",
        ),
        Err(error) => {
            let advice = "the engine reads its tables in such pages; put the DFS root elsewhere";
            Finding::not(what, error.to_string(), advice)
        }
    }
}

/// The smallest size that can be read directly; `None` where direct reads are refused.
fn alignment(root: &Path) -> std::io::Result<Option<usize>> {
    let path = root.join(format!("doctor-{}", std::process::id()));
    if let Err(error) = fs::write(&path, [7; 2 * PAGE_BYTES]) {
        let _not_there = fs::remove_file(&path);
        return Err(error);
    }
    let mut options = OpenOptions::new();
    let opened = options.read(true).custom_flags(libc::O_DIRECT).open(&path);
    fs::remove_file(&path)?;
    let file = match opened {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return Ok(None),
        opened => opened?,
    };
    let mut page =
        Buf::map(PAGE_BYTES).map_err(|error| std::io::Error::other(error.to_string()))?;
    let mut read = |bytes: usize| file.read_at(&mut page.bytes_mut()[..bytes], bytes as u64);
    match ALIGNMENTS.into_iter().find(|&bytes| read(bytes).is_ok()) {
        Some(bytes) => Ok(Some(bytes)),
        None => read(PAGE_BYTES).map(|_| Some(PAGE_BYTES)),
    }
}
