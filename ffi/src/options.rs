//! Options as text: a line `name = value` each.

use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aquifer::io::host::credentials::{Given, Secret};
use aquifer::limits::{CHECKPOINTS_KEPT_MAX, KEY_GROUPS_MAX};
use aquifer::shard::engine::{Access, Config, IoMode, ShardThread, SsdConfig, StoreConfig};
use aquifer::types::nearest::nearest;
use aquifer::types::size;

use crate::layout::{SCOPE_ENGINE, SCOPE_STORE};
use crate::status::Failure;

/// What `aqf_option_at` tells of an option.
pub struct Described {
    pub scope: u32,
    pub name: &'static CStr,
    pub type_: &'static CStr,
    pub default: &'static CStr,
    pub doc: &'static CStr,
}

const SIZE: &CStr = c"bytes, or a number with K, M, G or T";
const SIZES: &str = "use bytes, or a number with K, M, G or T for KiB, MiB, GiB, TiB";
const NUMBER: &CStr = c"a whole number";

/// Stands for the options of this name with the name of a credential in place of NAME.
const CREDENTIAL: &CStr = c"credential.NAME";
/// What those begin with.
const CREDENTIAL_PREFIX: &str = "credential.";

/// A longer word is no name of an option, bytes.
const SHOWN_BYTES_MAX: usize = 32;

/// Every option.
pub const OPTIONS: [Described; 21] = [
    Described {
        scope: SCOPE_ENGINE,
        name: c"dfs",
        type_: c"file:///path, a path, s3://, gs://, abfs://, webhdfs://, host://, memory://name",
        default: c"",
        doc: c"Where the state lives: a folder that all hosts of the job mount, or a store.",
    },
    Described {
        scope: SCOPE_ENGINE,
        name: CREDENTIAL,
        type_: c"text, which is never shown",
        default: c"",
        doc: c"Who the engine is to its store, by names as AWS_ACCESS_KEY_ID of the environment.",
    },
    Described {
        scope: SCOPE_ENGINE,
        name: c"credentials",
        type_: c"a name of aqf_set_credentials",
        default: c"",
        doc: c"The source that the store's credentials come from; without, the environment.",
    },
    Described {
        scope: SCOPE_ENGINE,
        name: c"memory",
        type_: SIZE,
        default: c"256M",
        doc: c"All memory the engine may use, shared evenly by its shards.",
    },
    Described {
        scope: SCOPE_ENGINE,
        name: c"shards",
        type_: NUMBER,
        default: c"1",
        doc: c"Shards: one for each core that the host gives the engine.",
    },
    Described {
        scope: SCOPE_ENGINE,
        name: c"thread",
        type_: c"owned or inline",
        default: c"owned",
        doc: c"Which thread runs a shard: one of the engine, or the host's inside aqf_poll.",
    },
    Described {
        scope: SCOPE_ENGINE,
        name: c"io",
        type_: c"auto, uring or portable",
        default: c"auto",
        doc: c"How files are read: by io_uring, by threads, or as the first that is allowed.",
    },
    Described {
        scope: SCOPE_ENGINE,
        name: c"statistics_page",
        type_: c"a path",
        default: c"",
        doc: c"A new file, or an old page, for the engine's statistics as JSON; none if empty.",
    },
    Described {
        scope: SCOPE_ENGINE,
        name: c"ssd",
        type_: SIZE,
        default: c"0",
        doc: c"Bytes of a cache of the DFS on a local disk, shared evenly by the shards; 0: none.",
    },
    Described {
        scope: SCOPE_ENGINE,
        name: c"ssd_dir",
        type_: c"a path",
        default: c"",
        doc: c"The folder of that cache, of one engine at a time; it may be lost at any moment.",
    },
    Described {
        scope: SCOPE_ENGINE,
        name: c"ssd_spare",
        type_: SIZE,
        default: c"256M",
        doc: c"What that disk keeps free: the cache does not grow into it.",
    },
    Described {
        scope: SCOPE_ENGINE,
        name: c"hedge",
        type_: c"true or false",
        default: c"false",
        doc: c"Sends GETs of a store that take long once more; at most one in twenty.",
    },
    Described {
        scope: SCOPE_ENGINE,
        name: c"patience",
        type_: c"seconds, 1 to 86400",
        default: c"10",
        doc: c"For how long, from its first failure on, what fails at the DFS for the moment is \
               tried again. What waits for flushes that fail waits as long.",
    },
    Described {
        scope: SCOPE_ENGINE,
        name: c"compactors",
        type_: c"host:port, with commas between several",
        default: c"",
        doc: c"Processes of `aquifer compactor` that merges are sent to; none if empty.",
    },
    Described {
        scope: SCOPE_ENGINE,
        name: c"compactor_secret_file",
        type_: c"a path",
        default: c"",
        doc: c"The file of the compactors' secret; AQUIFER_COMPACTOR_SECRET holds it if empty.",
    },
    Described {
        scope: SCOPE_STORE,
        name: c"number",
        type_: NUMBER,
        default: c"0",
        doc: c"The host's number of the store (the operator subtask), the same after a restore.",
    },
    Described {
        scope: SCOPE_STORE,
        name: c"host_epoch",
        type_: NUMBER,
        default: c"0",
        doc: c"The host's attempt, for people who read object names.",
    },
    Described {
        scope: SCOPE_STORE,
        name: c"key_groups",
        type_: NUMBER,
        default: c"128",
        doc: c"Maximal parallelism: into how many key groups keys are hashed.",
    },
    Described {
        scope: SCOPE_STORE,
        name: c"first_key_group",
        type_: NUMBER,
        default: c"0",
        doc: c"First key group of the store.",
    },
    Described {
        scope: SCOPE_STORE,
        name: c"last_key_group",
        type_: NUMBER,
        default: c"key_groups - 1",
        doc: c"Last key group of the store.",
    },
    Described {
        scope: SCOPE_STORE,
        name: c"keep_checkpoints",
        type_: NUMBER,
        default: c"0",
        doc: c"Newest checkpoints that the store keeps itself; 0: the host keeps handles.",
    },
];

// Calls `set` with each option of the text, whose name is of `scope`.
fn each<'a>(
    text: &'a [u8],
    scope: u32,
    mut set: impl FnMut(&'a str, &'a str) -> Result<(), String>,
) -> Result<(), Failure> {
    let text = std::str::from_utf8(text)
        .map_err(|error| Failure::invalid(format!("the options are not UTF-8: {error}")))?;
    if let Some(at) = text.find('\0') {
        let line = text[..at].matches('\n').count() + 1;
        let what = format!("line {line} of the options holds a NUL; pass the length without it");
        return Err(Failure::invalid(what));
    }
    let names: Vec<&str> = OPTIONS
        .iter()
        .filter(|option| option.scope == scope)
        .filter_map(|option| option.name.to_str().ok())
        .collect();
    let (mut seen, mut after_secret) = (Vec::new(), false);
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong =
            |what: String| Failure::invalid(format!("line {number} of the options: {what}"));
        let Some((name, value)) = line.split_once('=') else {
            let shown = harmless(line.split_whitespace().next().unwrap_or_default(), after_secret);
            return Err(wrong(format!("`{shown}` is not `name = value`")));
        };
        let (name, value) = (name.trim(), value.trim());
        let is_secret = scope == SCOPE_ENGINE && name.starts_with(CREDENTIAL_PREFIX);
        if is_secret && harmless(name, false) != name {
            let what = "a line that begins with `credential.` is no `credential.NAME = value`";
            return Err(wrong(what.to_owned()));
        }
        if !is_secret && !names.contains(&name) {
            let hint = match nearest(name, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are {}", names.join(", ")),
            };
            let shown = harmless(name, after_secret);
            return Err(wrong(format!("no option is named `{shown}`; {hint}")));
        }
        after_secret |= is_secret;
        if seen.contains(&name) {
            return Err(wrong(format!("`{name}` stands twice; say it once")));
        }
        seen.push(name);
        let shown = if is_secret { "..." } else { value };
        set(name, value).map_err(|what| match value {
            "" => wrong(format!("`{name}` has no value: {what}")),
            _ => wrong(format!("{name} = {shown}: {what}")),
        })?;
    }
    Ok(())
}

// A word of a line for an error. It may be a part of a secret: one that was broken into lines, or
// stands behind another sign than `=`.
fn harmless(word: &str, after_secret: bool) -> &str {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let name = word.strip_prefix(CREDENTIAL_PREFIX).unwrap_or(word);
    let shows = !after_secret && name.len() <= SHOWN_BYTES_MAX && name.chars().all(is_name);
    if shows { word } else { "..." }
}

fn bytes(value: &str) -> Result<u64, String> {
    size::parse(value).ok_or_else(|| SIZES.to_owned())
}

fn number<T: TryFrom<u64>>(value: &str, max: u64) -> Result<T, String> {
    let number = value.parse::<u64>().ok().filter(|number| *number <= max);
    let number = number.and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| format!("use a whole number up to {max}"))
}

fn path(value: &str) -> Option<PathBuf> {
    (!value.is_empty()).then(|| value.into())
}

const THREADS: [(&str, ShardThread); 2] =
    [("owned", ShardThread::Owned), ("inline", ShardThread::Inline)];

const SWITCH: [(&str, bool); 2] = [("true", true), ("false", false)];

const IO_MODES: [(&str, IoMode); 3] =
    [("auto", IoMode::Auto), ("uring", IoMode::Uring), ("portable", IoMode::Portable)];

fn chosen<T: Copy>(value: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let choice = choices.iter().find(|(name, _)| *name == value);
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    choice.map(|&(_, choice)| choice).ok_or_else(|| format!("use {}", names.join(" or ")))
}

fn name_of<T: Copy + PartialEq>(of: T, choices: &[(&'static str, T)]) -> &'static str {
    choices.iter().find(|(_, choice)| *choice == of).map_or("", |(name, _)| name)
}

/// The configuration that the text of `aqf_engine_open` says.
pub fn engine(text: &[u8]) -> Result<Config, Failure> {
    let mut config = Config::new("");
    let mut ssd = SsdConfig::new("", 0);
    let (mut given, mut source) = (Given::default(), "");
    each(text, SCOPE_ENGINE, |name, value| {
        if let Some(name) = name.strip_prefix(CREDENTIAL_PREFIX) {
            return given.set(name, Secret::new(value)).map_err(|e| e.text.to_string());
        }
        match name {
            "credentials" => source = value,
            "dfs" => value.clone_into(&mut config.dfs),
            "memory" => {
                config.memory_bytes = usize::try_from(bytes(value)?).map_err(|_| SIZES)?;
            }
            "hedge" => config.hedge = chosen(value, &SWITCH)?,
            "patience" => match number(value, 86_400) {
                Err(_) | Ok(0) => return Err("use a whole number from 1 to 86400".to_owned()),
                Ok(seconds) => config.patience = Duration::from_secs(seconds),
            },
            "ssd" => ssd.bytes = bytes(value)?,
            "ssd_dir" => ssd.folder = value.into(),
            "ssd_spare" => ssd.spare_bytes = bytes(value)?,
            "shards" => config.shards = number(value, 1024)?,
            "thread" => config.thread = chosen(value, &THREADS)?,
            "io" => config.io = chosen(value, &IO_MODES)?,
            "statistics_page" => config.statistics_page = path(value),
            "compactors" => {
                let addresses = value.split(',').map(str::trim).filter(|a| !a.is_empty());
                config.compactors = addresses.map(str::to_owned).collect();
            }
            _ => config.compactor_secret_file = path(value),
        }
        Ok(())
    })?;
    if config.dfs.is_empty() {
        let text = "the option dfs is missing: say where the state lives, such as \
                    `dfs = file:///mnt/state`";
        return Err(Failure::invalid(text));
    }
    if ssd.bytes > 0 && ssd.folder.as_os_str().is_empty() {
        let text = "the option ssd_dir is missing: say where the cache lies, such as \
                    `ssd_dir = /mnt/nvme/cache`";
        return Err(Failure::invalid(text));
    }
    config.ssd = (ssd.bytes > 0).then_some(ssd);
    config.access = match (given.is_empty(), source) {
        (true, "") => Access::Environment,
        (true, source) => Access::Source(source.to_owned()),
        (false, "") => Access::Given(given),
        (false, _) => {
            let text = "the options have credentials and a source of them: leave one out";
            return Err(Failure::invalid(text));
        }
    };
    Ok(config)
}

fn shown(path: Option<&Path>) -> std::path::Display<'_> {
    path.unwrap_or(Path::new("")).display()
}

/// A configuration as text.
pub fn engine_text(config: &Config) -> String {
    let Config { memory_bytes, dfs, shards, thread, io, compactors, hedge, .. } = config;
    let patience = config.patience.as_secs();
    let ssd = config.ssd.clone().unwrap_or_else(|| SsdConfig::new("", 0));
    let (folder, ssd_bytes, spare) = (ssd.folder.display(), ssd.bytes, ssd.spare_bytes);
    let (thread, io) = (name_of(*thread, &THREADS), name_of(*io, &IO_MODES));
    let page = shown(config.statistics_page.as_deref());
    let secret = shown(config.compactor_secret_file.as_deref());
    let compactors = compactors.join(",");
    let credentials = match &config.access {
        Access::Source(name) => name,
        Access::Environment | Access::Given(_) => "",
    };
    format!(
        "dfs = {dfs}\ncredentials = {credentials}\nmemory = {memory_bytes}\n\
         shards = {shards}\nthread = {thread}\nio = {io}\n\
         statistics_page = {page}\nssd = {ssd_bytes}\nssd_dir = {folder}\nssd_spare = {spare}\n\
         hedge = {hedge}\npatience = {patience}\n\
         compactors = {compactors}\ncompactor_secret_file = {secret}\n"
    )
}

/// The store that the text of `aqf_store_open` says: empty, without states.
pub fn store(text: &[u8]) -> Result<StoreConfig, Failure> {
    let (mut store_number, mut host_epoch, mut key_groups) = (0, 0, 128);
    let (mut first, mut last, mut keep) = (0, None, 0);
    let groups_max = u64::from(KEY_GROUPS_MAX);
    each(text, SCOPE_STORE, |name, value| {
        match name {
            "number" => store_number = number(value, u64::MAX)?,
            "host_epoch" => host_epoch = number(value, u64::MAX)?,
            "key_groups" => key_groups = number(value, groups_max)?,
            "first_key_group" => first = number(value, groups_max - 1)?,
            "last_key_group" => last = Some(number(value, groups_max - 1)?),
            _ => keep = number(value, CHECKPOINTS_KEPT_MAX as u64)?,
        }
        Ok(())
    })?;
    if key_groups == 0 {
        return Err(Failure::invalid(format!("0 key groups: use 1 to {KEY_GROUPS_MAX}")));
    }
    let last: u16 = last.unwrap_or((key_groups - 1) as u16);
    if first > last || u32::from(last) >= key_groups {
        let text = format!(
            "key groups {first} to {last} of {key_groups}: the first is at most the last, which \
             is at most {}",
            key_groups - 1
        );
        return Err(Failure::invalid(text));
    }
    let range = (first, last);
    Ok(StoreConfig { host_epoch, range, keep, ..StoreConfig::new(store_number, key_groups) })
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
