//! `aquifer inspect`: what a handle, a manifest, a root, a table or one of its units holds, by the
//! names of FORMAT.md, as far as damage lets it be read.

mod manifest;
mod root;
mod table;

use std::path::Path;

use anyhow::{Context, Result, ensure};
use aquifer::checkpoint::handle::{HANDLE_BYTES, Handle};
use aquifer::types::{ObjectKind, ObjectName};
use clap::Args as ClapArgs;
use serde_json::Value;

use crate::files;
use crate::objects::handles::{self, Handles};
use crate::objects::walk::Flaw;
use crate::objects::{Object, Root, is_damage};
use crate::page::{Digits, Page, Row};

const EXAMPLES: &str = "\
Examples:
  aquifer inspect wordcount.job                  the handles of a job, and the manifests they name
  aquifer inspect data/aquifer.handle --dfs data/dfs
  aquifer inspect data/dfs/0000000000000001/0000...-8c21.../sst-0000000000000003-9e37... --json
  aquifer inspect 0000000000000001/0000...-8c21.../sst-0000... --dfs file:///data/dfs --unit 17

It ends with 0 if everything it looked at is as it was written, with 1 if something is damaged,
which it names with the place, and with 2 if it could not look.";

/// Options of `aquifer inspect`.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A file, the name of an object below --dfs, or a handle in hexadecimal. A file is a table, a
    /// manifest, a root, the handle that a host kept, or a job file of the word count.
    #[arg(value_name = "PATH|NAME|HANDLE")]
    pub what: String,
    /// The root of the DFS, for names of objects and for what a handle names.
    #[arg(long, value_name = "URL")]
    pub dfs: Option<String>,
    /// The name that the object in a file was written under, if its path does not end in it.
    #[arg(long, value_name = "NAME")]
    pub name: Option<ObjectName>,
    /// Show one unit of a table, by its number from 0.
    #[arg(long, value_name = "N", conflicts_with = "at")]
    pub unit: Option<u32>,
    /// Show the unit of a table that begins at this byte, whatever the index says.
    #[arg(long, value_name = "OFFSET")]
    pub at: Option<u64>,
    /// Answer in JSON.
    #[arg(long)]
    pub json: bool,
}

/// Shows what `args` name; whether it is whole.
///
/// # Errors
/// What kept it from looking.
pub fn inspect(args: &Args) -> Result<bool> {
    let subject = Subject::find(args)?;
    let is_table = matches!(subject, Subject::Table(_));
    let one_unit = args.unit.is_some() || args.at.is_some();
    ensure!(is_table || !one_unit, "--unit and --at show units of a table; {} is none", args.what);
    if let (Subject::Table(object), Some(at)) = (&subject, args.at) {
        ensure!(at < object.bytes(), "--at {at}: {} has {} bytes", args.what, object.bytes());
    }
    let mut flaws = Flaws::default();
    Page::print(args.json, |page| {
        match &subject {
            Subject::Handles(handles) => show_handles(page, args, handles, &mut flaws)?,
            Subject::Manifest(object) => manifest::show(page, object, &mut flaws).map(drop)?,
            Subject::Root(object) => root::show(page, object, &mut flaws)?,
            Subject::Table(object) => table::show(page, object, args, &mut flaws)?,
        }
        flaws.show(page)
    })?;
    Ok(flaws.list.is_empty())
}

enum Subject {
    Handles(Handles),
    Manifest(Object),
    Root(Object),
    Table(Object),
}

impl Subject {
    fn find(args: &Args) -> Result<Self> {
        if let (Some(dfs), Ok(name)) = (&args.dfs, args.what.parse::<ObjectName>()) {
            return Ok(Self::of_kind(name.kind, Root::of_url(dfs)?.open(&name)?));
        }
        let path = Path::new(&args.what);
        if !path.exists() {
            return handles::read(&args.what, None).map(Self::Handles);
        }
        files::check(path).with_context(|| args.what.clone())?;
        let object = Object::open(path, args.name)?;
        let head = object.read(0, object.bytes().min(HANDLE_BYTES as u64) as usize)?;
        if head.starts_with(b"AQUIMAN1") {
            return Ok(Self::Manifest(object));
        }
        if head.starts_with(b"AQUIROT1") {
            return Ok(Self::Root(object));
        }
        if object.last_page().is_ok_and(|page| page.starts_with(b"AQUISST1")) {
            return Ok(Self::Table(object));
        }
        // Damage may have taken what it starts or ends with.
        match object.kind() {
            Some(kind) => Ok(Self::of_kind(kind, object)),
            None => {
                let handles = handles::read(&args.what, None);
                handles.map(Self::Handles).context("it is no table, no manifest and no root")
            }
        }
    }

    fn of_kind(kind: ObjectKind, object: Object) -> Self {
        match kind {
            ObjectKind::Manifest => Self::Manifest(object),
            ObjectKind::Root => Self::Root(object),
            ObjectKind::Sst => Self::Table(object),
        }
    }
}

/// What is wrong, with the object it was found in.
#[derive(Default)]
struct Flaws {
    list: Vec<(String, Flaw)>,
}

impl Flaws {
    fn add(&mut self, place: impl ToString, offset: Option<u64>, what: impl ToString) {
        self.list.push((place.to_string(), Flaw { offset, what: what.to_string() }));
    }

    fn show(&self, page: &mut Page<'_>) -> Result<()> {
        let row = |(place, flaw): &(String, Flaw)| -> Row {
            vec![
                ("what", place.clone().into()),
                ("offset", flaw.offset.into()),
                ("flaw", flaw.what.clone().into()),
            ]
        };
        Ok(page.rows("damage", self.list.iter().map(row))?)
    }
}

fn show_handles(
    page: &mut Page<'_>,
    args: &Args,
    handles: &Handles,
    flaws: &mut Flaws,
) -> Result<()> {
    let dfs = args.dfs.as_ref().or(handles.dfs.as_ref());
    page.field("dfs", dfs.cloned())?;
    let root = match dfs.map(|dfs| Root::of_url(dfs)).transpose() {
        Err(error) if args.dfs.is_none() => {
            page.field("manifests", format!("not shown: {error:#}"))?;
            None
        }
        root => root?,
    };
    for (number, (what, bytes)) in (1..).zip(&handles.handles) {
        page.group(&format!("handle_{number}"), |page| {
            page.field("kept_as", what.clone())?;
            show_handle(page, what, bytes, root.as_ref(), flaws)
        })?;
    }
    Ok(())
}

fn show_handle(
    page: &mut Page<'_>,
    what: &str,
    bytes: &[u8],
    root: Option<&Root>,
    flaws: &mut Flaws,
) -> Result<()> {
    page.field("bytes", bytes.len())?;
    let checked = Handle::decode(bytes);
    page.field("checksum", holds(checked.is_ok()))?;
    if let Err(error) = &checked {
        flaws.add(what, None, &error.text);
    }
    let Some(handle) = checked.ok().or_else(|| Handle::unchecked(bytes)) else {
        page.bytes("content", bytes)?;
        return Ok(());
    };
    page.field("format_version", bytes[4])?;
    show_name(page, "object_name_of_the_manifest", &handle.manifest)?;
    page.field("bytes_of_the_manifest", handle.manifest_bytes)?;
    page.field("xxh3_64_of_the_manifest", format!("{:016x}", handle.manifest_hash))?;
    let Some(root) = root else { return Ok(()) };
    match root.open(&handle.manifest) {
        Ok(object) => page.group("manifest", |page| {
            let bytes = manifest::show(page, &object, flaws)?;
            if let Err(error) = handle.verify(&bytes) {
                flaws.add(handle.manifest, None, &error.text);
            }
            Ok(())
        }),
        Err(error) if is_damage(&error) => {
            flaws.add(handle.manifest, None, &error.text);
            Ok(())
        }
        Err(error) => Err(error).context("the manifest"),
    }
}

fn show_name(page: &mut Page<'_>, what: &str, name: &ObjectName) -> Result<()> {
    page.group(what, |page| {
        page.field("path", name.to_string())?;
        page.field("store", name.store)?;
        page.field("host_epoch", name.incarnation.host_epoch)?;
        page.field("nonce", format!("{:032x}", name.incarnation.nonce))?;
        page.field("kind", kind_of(name.kind))?;
        page.field("number", name.seq)?;
        page.field("random", format!("{:016x}", name.rand))?;
        Ok(())
    })
}

fn kind_of(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Sst => "sorted table",
        ObjectKind::Manifest => "manifest",
        ObjectKind::Root => "root",
    }
}

fn holds(holds: bool) -> &'static str {
    if holds { "holds" } else { "differs" }
}

/// A key in hexadecimal, and what it says.
fn key_fields(digits: Digits, names: [&'static str; 2], key: &[u8]) -> [(&'static str, Value); 2] {
    let shown = crate::objects::walk::shown_key(key);
    [(names[0], digits.of(key).into()), (names[1], shown.map_or(Value::Null, Value::from))]
}
