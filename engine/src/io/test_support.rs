//! What the tests of this floor share.

use std::path::{Path, PathBuf};

use crate::io::entropy;
use crate::types::{Incarnation, ObjectKind, ObjectName};

/// A folder that is removed with its content.
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Beside the test's program: that is a disk, where the system's temporary folder may not be.
    pub(crate) fn new() -> Self {
        let program = std::env::current_exe().unwrap();
        let path = program.with_file_name(format!("io-{:032x}", entropy::nonce().unwrap()));
        std::fs::create_dir_all(&path).unwrap();
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn url(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _left = std::fs::remove_dir_all(&self.path);
    }
}

/// Compares what is written today with a golden file. Where they differ, today's bytes are put
/// beside the test's program: for a new version of the format they become the new golden file.
pub(crate) fn check_golden(file: &str, golden: &[u8], written: &[u8]) {
    if golden == written {
        return;
    }
    let path = std::env::current_exe().unwrap().with_file_name(file);
    std::fs::write(&path, written).unwrap();
    panic!(
        "{file} drifted. A reader in the field has the old bytes: that needs a new version in \
         FORMAT.md and a golden file of its own; today's bytes are in {}",
        path.display()
    );
}

/// The `seq`th object of some incarnation.
pub(crate) fn name(seq: u64) -> ObjectName {
    let incarnation = Incarnation { host_epoch: 1, nonce: 2 };
    ObjectName { store: 3, incarnation, kind: ObjectKind::Sst, seq, rand: 4 }
}
