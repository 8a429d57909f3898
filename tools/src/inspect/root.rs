//! What a root holds.

use anyhow::{Result, ensure};
use aquifer::checkpoint::root::{ROOT_BYTES_MAX, Root};

use super::{Flaws, show_name};
use crate::objects::Object;
use crate::page::{Page, Row, hex};

/// Shows a root, if it is whole.
pub(super) fn show(page: &mut Page<'_>, object: &Object, flaws: &mut Flaws) -> Result<()> {
    let name = object.name()?;
    let len = object.bytes();
    ensure!(len <= ROOT_BYTES_MAX as u64, "{name} has {len} bytes: no root is as large");
    let bytes = object.read(0, len as usize)?;
    show_name(page, "object_name", &name)?;
    page.field("bytes", len)?;
    let root = match Root::decode(&name, &bytes) {
        Ok(root) => root,
        Err(error) => {
            page.bytes("content", &bytes)?;
            flaws.add(name, None, &error.text);
            return Ok(());
        }
    };
    page.field("host_epoch", root.incarnation.host_epoch)?;
    page.field("nonce", format!("{:032x}", root.incarnation.nonce))?;
    let row = |handle: &aquifer::checkpoint::handle::Handle| -> Row {
        vec![
            ("object_name_of_the_manifest", handle.manifest.to_string().into()),
            ("handle", hex(&handle.encode()).into()),
        ]
    };
    Ok(page.rows("checkpoints", root.kept.iter().map(row))?)
}
