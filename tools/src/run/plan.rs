//! From options to a job: a fresh one, or the one of the job file.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf, absolute};

use anyhow::{Context, Result, bail};
use aquifer::codec::hash::hash64;
use aquifer::io::url::{self, Place};

use crate::files::draft_of;
use crate::run::cli::Args;
use crate::run::inputs::{InputFile, Inputs, STDIN, default_roots, list};
use crate::run::job_file::{Job, lock_of};

/// A job that can start.
pub struct Planned {
    /// The job; its file is written.
    pub job: Job,
    /// Its input.
    pub inputs: Inputs,
    /// Keeps other processes off the job.
    pub claim: File,
}

/// Makes or loads the job that the options ask for, and writes its file.
///
/// # Errors
/// Inputs that are not there or have changed, options that are not those of the job, a job that
/// another process runs.
pub fn plan(args: &Args) -> Result<Planned> {
    if args.resume {
        // Before a claim, which would leave its file beside a job that is not there.
        Job::load(&args.job)?;
    } else {
        Job::refuse_other_files(&args.job)?;
    }
    let claim = Job::claim(&args.job)?;
    let job = if args.resume { resumed(args)? } else { fresh(args)? };
    let inputs = Inputs::new(job.inputs.clone())?;
    if args.resume {
        inputs.check_unchanged()?;
    }
    job.save(&args.job)?;
    Ok(Planned { job, inputs, claim })
}

fn resumed(args: &Args) -> Result<Job> {
    let mut job = Job::load(&args.job)?;
    let file = args.job.display();
    let differs = |option: &str, given: String, of_job: String| {
        format!("{file} is a job with {option} {of_job}, not {given}; leave {option} out to resume")
    };
    if let Some(ngram) = args.ngram.filter(|&n| n != job.ngram) {
        bail!(differs("--ngram", ngram.to_string(), job.ngram.to_string()));
    }
    if let Place::Memory(_) = url::parse(&job.dfs)?.place {
        bail!(
            "{file} is a job on {}: its state died with its process; start without --resume, and \
             with --dfs FOLDER for state that stays",
            job.dfs
        );
    }
    if let Some(dfs) = &args.dfs {
        let dfs = settle(dfs)?;
        if dfs != job.dfs {
            bail!(differs("--dfs", dfs, job.dfs));
        }
    }
    if !args.paths.is_empty() {
        let show = |roots: &[PathBuf]| {
            roots.iter().map(|r| r.display().to_string()).collect::<Vec<_>>().join(" ")
        };
        let roots = absolute_roots(&args.paths)?;
        if roots != job.roots {
            bail!(differs("the inputs", show(&roots), show(&job.roots)));
        }
    }
    if args.older {
        job.go_back().with_context(|| format!("{file} names no older checkpoint"))?;
    }
    let counted = job.last().position.records;
    if args.limit.or(job.limit).is_some_and(|limit| limit < counted) {
        bail!("the job has counted {counted} words already; --limit cannot be less");
    }
    if let Some(crash_at) = args.crash_at.filter(|&n| n <= counted) {
        bail!("the job has counted {counted} words already; it cannot crash at {crash_at}");
    }
    check_crash(args, args.limit.or(job.limit))?;
    eprintln!("resuming at word {counted}, attempt {}", job.attempt + 1);
    refuse_to_overwrite(args, &job.inputs)?;
    job.limit = args.limit.or(job.limit);
    job.attempt += 1;
    Ok(job)
}

fn check_crash(args: &Args, limit: Option<u64>) -> Result<()> {
    match (args.crash_at, limit) {
        (Some(crash_at), Some(limit)) if limit < crash_at => {
            bail!("--crash-at {crash_at} is beyond --limit {limit}: nothing would be crashed")
        }
        _ => Ok(()),
    }
}

fn fresh(args: &Args) -> Result<Job> {
    check_crash(args, args.limit)?;
    let default_dfs = default_dfs(&args.job)?;
    let dfs = match &args.dfs {
        Some(dfs) => settle(dfs)?,
        None => default_dfs.to_string_lossy().into_owned(),
    };
    let (roots, mut notices) = if args.paths.is_empty() {
        default_roots()?
    } else {
        (absolute_roots(&args.paths)?, Vec::new())
    };
    let (inputs, more) = list(&roots, &own_files(args, &dfs)?)?;
    refuse_to_overwrite(args, &inputs)?;
    notices.extend(more);
    if inputs.is_empty() {
        notices.push("there is no file to count".to_owned());
    }
    for notice in notices {
        eprintln!("note: {notice}");
    }
    let job = Job {
        ngram: args.ngram.unwrap_or(1),
        limit: args.limit,
        dfs,
        roots,
        attempt: 1,
        inputs,
        checkpoints: Vec::new(),
    };
    if args.dfs.is_none() && default_dfs.exists() {
        // Nothing may name the objects of an earlier run of this job when they go.
        job.save(&args.job)?;
        fs::remove_dir_all(&default_dfs).with_context(|| {
            format!("removing what an earlier run left in {}", default_dfs.display())
        })?;
    }
    Ok(job)
}

/// A folder that no other job file has, below the one that builds use.
fn default_dfs(job: &Path) -> Result<PathBuf> {
    let job = absolute(job).with_context(|| format!("job file {}", job.display()))?;
    let stem = job.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let hash = hash64(job.as_os_str().as_encoded_bytes()) as u32;
    let folder = Path::new("target").join("aquifer").join(format!("{stem}-{hash:08x}"));
    absolute(folder).context("the current folder")
}

// A job is resumed from any folder: relative paths are settled now.
fn settle(dfs: &str) -> Result<String> {
    let (base, query) = dfs.split_once('?').unwrap_or((dfs, ""));
    url::parse(dfs)?;
    if base.contains(':') {
        return Ok(dfs.to_owned());
    }
    let path = absolute(base).with_context(|| format!("--dfs {dfs}"))?;
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    Ok(format!("{}{query}", path.display()))
}

fn absolute_roots(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let settle = |path: &PathBuf| {
        if path.as_os_str() == STDIN {
            return Ok(path.clone());
        }
        absolute(path).with_context(|| format!("input {}", path.display()))
    };
    paths.iter().map(settle).collect()
}

/// What a path leads to, however it is written.
#[derive(PartialEq)]
enum Leads {
    /// A file that is there, by device and inode.
    File(u64, u64),
    /// A place for one.
    Place(PathBuf),
}

impl Leads {
    /// Nothing of a device or a pipe, which any number may write to.
    fn of(path: &Path) -> Result<Option<Self>> {
        match fs::metadata(path) {
            Ok(found) if found.is_file() => Ok(Some(Self::File(found.dev(), found.ino()))),
            Ok(_) => Ok(None),
            Err(_) => {
                let place = absolute(path).with_context(|| path.display().to_string())?;
                Ok(Some(Self::Place(place)))
            }
        }
    }
}

/// What the job writes takes the place of nothing that it counts, nor of another such file.
fn refuse_to_overwrite(args: &Args, inputs: &[InputFile]) -> Result<()> {
    let given = [("--job", Some(&args.job)), ("--counts", args.counts.as_ref())];
    let given = given.into_iter().chain([("--json", args.json.as_ref())]);
    let mut written: Vec<(&str, Leads)> = Vec::new();
    for (option, path) in given.filter_map(|(option, path)| Some((option, path?))) {
        let Some(leads) = Leads::of(path)? else { continue };
        if let Some((other, _)) = written.iter().find(|(_, other)| *other == leads) {
            bail!("{} is given as {other} and as {option}: name two files", path.display());
        }
        written.push((option, leads));
    }
    if !written.iter().any(|(_, leads)| matches!(leads, Leads::File(..))) {
        return Ok(());
    }
    for InputFile { path, .. } in inputs.iter().filter(|input| input.path != STDIN) {
        let leads = Leads::of(Path::new(path))?;
        if let Some((option, _)) = written.iter().find(|(_, other)| Some(other) == leads.as_ref()) {
            bail!("{path} is to be counted, and {option} would overwrite it: name another file");
        }
    }
    Ok(())
}

// What the job itself writes is no input, wherever it lies.
fn own_files(args: &Args, dfs: &str) -> Result<HashSet<PathBuf>> {
    let mut own = vec![args.job.clone(), draft_of(&args.job), lock_of(&args.job)];
    own.extend(args.counts.clone());
    own.extend(args.json.clone());
    if let Place::Folder(folder) = url::parse(dfs)?.place {
        own.push(folder);
    }
    own.iter().map(|p| absolute(p).with_context(|| p.display().to_string())).collect()
}
