//! Makes tables and checkpoints of rows that come in order. Each table is a tablet, as if all had
//! been merged: nothing is written twice, and a store that opens has nothing left to merge.

use std::thread::{self, JoinHandle};

use aquifer::checkpoint::handle::Handle;
use aquifer::codec::hash::hash64;
use aquifer::io::dfs::Dfs;
use aquifer::io::entropy;
use aquifer::io::retry::patiently;
use aquifer::limits::FILTER_BITS_LAST;
use aquifer::lsm::manifest::{Manifest, TabletRef};
use aquifer::sst::TableBuilder;
use aquifer::types::{Error, Incarnation, ObjectKind, ObjectName, Result, RowKind, RowRef};

use super::format::Head;

/// See the module.
pub(super) struct Loader {
    dfs: Dfs,
    incarnation: Incarnation,
    // Objects it has named.
    seq: u64,
    // What the next checkpoint names.
    manifest: Manifest,
    builder: Option<TableBuilder>,
    // What the builder has handed over.
    bytes: Vec<u8>,
    // The table before, while it is written.
    put: Option<JoinHandle<Result<()>>>,
}

impl Loader {
    /// Nothing is loaded yet.
    ///
    /// # Errors
    /// The kernel gives no random numbers.
    pub(super) fn new(dfs: Dfs, store: u64, head: &Head) -> Result<Self> {
        let mut states = Vec::new();
        head.states.encode(&mut states);
        let manifest = Manifest {
            store,
            key_groups: head.key_groups,
            range: head.range,
            states,
            tables: Vec::new(),
            tablets: Vec::new(),
            hot: Vec::new(),
        };
        let incarnation = Incarnation { host_epoch: 0, nonce: entropy::nonce()? };
        Ok(Self { dfs, incarnation, seq: 0, manifest, builder: None, bytes: Vec::new(), put: None })
    }

    /// Goes on from a checkpoint that a loader of the same head has made.
    pub(super) fn go_on(&mut self, from: Manifest) {
        self.manifest.tables = from.tables;
        self.manifest.tablets = from.tablets;
        // That of a checkpoint without rows has no table.
        self.manifest.tablets.retain(|tablet| !tablet.runs.is_empty());
    }

    /// Tables so far.
    pub(super) fn tables(&self) -> usize {
        self.manifest.tables.len()
    }

    /// Bytes of the table that is being made.
    pub(super) fn open_bytes(&self) -> u64 {
        self.builder.as_ref().map_or(0, TableBuilder::data_bytes)
    }

    /// Takes the next row.
    ///
    /// # Errors
    /// The kernel gives no random numbers.
    pub(super) fn row(&mut self, stored: &[u8], value: &[u8]) -> Result<()> {
        if self.builder.is_none() {
            let name = self.name(ObjectKind::Sst)?;
            self.builder = Some(TableBuilder::new(name, FILTER_BITS_LAST));
            let first = self.manifest.tablets.is_empty();
            let low = if first { Box::default() } else { stored.into() };
            // The number that the table will have.
            let runs = vec![self.manifest.tables.len() as u32];
            self.manifest.tablets.push(TabletRef { low, runs });
        }
        let Some(builder) = &mut self.builder else { return Ok(()) };
        builder.add(hash64(stored), RowRef { key: stored, kind: RowKind::Put, value });
        while let Some(chunk) = builder.take_chunk() {
            self.bytes.extend_from_slice(&chunk);
            builder.give_back(chunk);
        }
        Ok(())
    }

    /// Ends the table that is being made, and writes it behind the back of what follows.
    ///
    /// # Errors
    /// What the table before met, or what building this one refused.
    pub(super) fn end_table(&mut self) -> Result<()> {
        let Some(builder) = self.builder.take() else { return Ok(()) };
        let finished = builder.finish()?;
        let mut bytes = std::mem::take(&mut self.bytes);
        finished.chunks.iter().for_each(|chunk| bytes.extend_from_slice(chunk));
        let table_ref = *finished.table.table_ref();
        self.manifest.tables.push(table_ref);
        self.settle()?;
        let dfs = self.dfs.clone();
        self.put = Some(thread::spawn(move || patiently(|| dfs.put(&table_ref.name, &bytes))));
        Ok(())
    }

    fn settle(&mut self) -> Result<()> {
        match self.put.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(done)) => done,
            Some(Err(_)) => Err(Error::invalid("the thread that writes tables has ended")),
        }
    }

    /// A checkpoint of all rows so far.
    ///
    /// # Errors
    /// Those of the DFS; `TooLarge`.
    pub(super) fn checkpoint(&mut self) -> Result<Handle> {
        self.end_table()?;
        self.settle()?;
        let name = self.name(ObjectKind::Manifest)?;
        let bytes = if self.manifest.tablets.is_empty() {
            let tablets = vec![TabletRef { low: Box::default(), runs: Vec::new() }];
            Manifest { tablets, ..self.manifest.clone() }.to_object(&name)?
        } else {
            self.manifest.to_object(&name)?
        };
        patiently(|| self.dfs.put(&name, &bytes))?;
        Ok(Handle::of(name, &bytes))
    }

    /// Deletes the manifest of a checkpoint whose rows a later one has too.
    ///
    /// # Errors
    /// Those of the DFS.
    pub(super) fn give_up(&self, handle: &Handle) -> Result<()> {
        patiently(|| self.dfs.delete(&handle.manifest))
    }

    fn name(&mut self, kind: ObjectKind) -> Result<ObjectName> {
        self.seq += 1;
        let Self { incarnation, seq, .. } = *self;
        Ok(ObjectName {
            store: self.manifest.store,
            incarnation,
            kind,
            seq,
            rand: entropy::seed()?,
        })
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        // What it met is of no use any more.
        let _given_up = self.settle();
    }
}
