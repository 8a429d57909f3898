//! A store that commits without a coordinator: it opens from the newest root of its number, which
//! it takes over by putting the next one, and each checkpoint of it ends with a root. The decisions
//! are those of `checkpoint/newest.rs` and `commit.rs`; here they are carried out.

use crate::checkpoint::commit::{Commit, End, Next};
use crate::checkpoint::handle::Handle;
use crate::checkpoint::newest::{Hunt, Newest};
use crate::checkpoint::root::{Found, ROOT_BYTES_MAX, Root, obsolete};
use crate::io::values::IoRequest;
use crate::limits::{CHECKPOINTS_KEPT_MAX, ROOT_ROUNDS_MAX};
use crate::lsm::manifest::Manifest;
use crate::mem::slab::Token;
use crate::shard::control::{PendingControl, done, give_up};
use crate::shard::restore::{Purpose, failed};
use crate::shard::shard::Shard;
use crate::shard::store::Store;
use crate::shard::values::{ControlResult, OpenStore, Outbox};
use crate::state::request::StoreId;
use crate::types::error::ErrorKind;
use crate::types::{Error, ObjectName, Result};

/// The roots of a store, as far as it goes on with them.
#[derive(Debug)]
pub(super) struct Lineage {
    /// The newest, which is its own.
    root: Root,
    /// Checkpoints to keep.
    keep: usize,
    /// A checkpoint is between its cut and its root: the next one waits.
    pub commits: bool,
}

/// A control request that looks for a root or commits one.
#[derive(Debug)]
pub(super) struct Rooting {
    asker: Asker,
    // Of the root that was asked for.
    name: ObjectName,
    what: What,
}

// A session, and its number of the request.
type Asker = (u16, u64);

#[derive(Debug)]
enum What {
    /// The DFS is tried.
    Try(Box<OpenStore>),
    /// The newest root is looked for.
    Seek(Taking, Newest),
    /// The next one is put, which takes the store over.
    Take(Taking, Commit),
    /// The root of a checkpoint is put.
    Commit(StoreId, Handle, Commit),
}

/// An opening from the newest root.
#[derive(Debug)]
struct Taking {
    open: Box<OpenStore>,
    // How often the number behind the newest was taken.
    rounds: u32,
}

impl Shard {
    /// The place of a store whose checkpoints the host keeps.
    pub(super) fn host_kept(&self, id: StoreId) -> Result<usize> {
        let index = self.index(id)?;
        match self.store(id).and_then(|store| store.lineage.as_ref()) {
            None => Ok(index),
            Some(Lineage { keep, .. }) => Err(Error::invalid(format!(
                "the store keeps its {keep} newest checkpoints itself: nobody else releases or \
                 claims any"
            ))),
        }
    }

    /// Opens a store from its newest root.
    pub(super) fn open_newest(
        &mut self,
        asker: Asker,
        open: Box<OpenStore>,
        outbox: &mut Outbox,
    ) -> Result<()> {
        let keep = open.keep;
        if keep > CHECKPOINTS_KEPT_MAX {
            return Err(Error::invalid(format!(
                "a store keeps {CHECKPOINTS_KEPT_MAX} checkpoints at most, not {keep}"
            )));
        }
        if !open.handles.is_empty() {
            let what = "a store that keeps its checkpoints itself begins with the newest of them, \
                        and takes no handles: leave them out, or have a store of another number \
                        begin with them that does not (keep, in C keep_checkpoints, 0)";
            return Err(Error::invalid(what));
        }
        let none = ObjectName::root(open.number, 0);
        let token = self.pend(asker, none, What::Try(open));
        outbox.io.push(IoRequest::Probe { token });
        Ok(())
    }

    fn pend(&mut self, asker: Asker, name: ObjectName, what: What) -> Token {
        self.controls.insert(PendingControl::Root(Box::new(Rooting { asker, name, what })))
    }

    fn create(&mut self, asker: Asker, root: &Root, what: What, outbox: &mut Outbox) {
        let (name, bytes) = (root.name(), root.encode());
        let token = self.pend(asker, name, what);
        outbox.io.push(IoRequest::Create { token, name, bytes });
    }

    // `expected`: it was put.
    fn look(
        &mut self,
        asker: Asker,
        (name, expected): (ObjectName, bool),
        what: What,
        outbox: &mut Outbox,
    ) {
        let bytes_max = ROOT_BYTES_MAX as u64;
        let token = self.pend(asker, name, what);
        outbox.io.push(IoRequest::Load { token, name, bytes_max, expected });
    }

    /// A put of a root ended, or the trial of the DFS.
    pub(super) fn root_put(&mut self, rooting: Rooting, result: Result<()>, outbox: &mut Outbox) {
        let Rooting { asker, what, .. } = rooting;
        match (what, result) {
            (What::Try(open), Ok(())) => {
                let mut newest = Newest::new(open.number, self.limits.root_spacing, None);
                let hunt = newest.aim();
                self.seek(asker, Taking { open, rounds: 0 }, newest, hunt, outbox);
            }
            (What::Try(open), Err(error)) => refuse(asker, open.number, error, outbox),
            (What::Take(taking, commit), result) => {
                let next = commit.put(result.is_ok());
                self.take(asker, taking, commit, next, outbox);
            }
            (What::Commit(id, handle, commit), result) => {
                let next = commit.put(result.is_ok());
                self.commit(asker, (id, handle), commit, next, outbox);
            }
            (What::Seek(..), _) => unreachable!("a search puts nothing"),
        }
    }

    /// A look at a root ended.
    pub(super) fn root_looked(
        &mut self,
        rooting: Rooting,
        loaded: Result<Vec<u8>>,
        outbox: &mut Outbox,
    ) {
        let Rooting { asker, name, what } = rooting;
        let found = Found::of(&name, loaded);
        match what {
            What::Seek(taking, mut newest) => {
                let hunt = newest.looked(found);
                self.seek(asker, taking, newest, hunt, outbox);
            }
            What::Take(taking, mut commit) => {
                let next = commit.looked(found);
                self.take(asker, taking, commit, next, outbox);
            }
            What::Commit(id, handle, mut commit) => {
                let next = commit.looked(found);
                self.commit(asker, (id, handle), commit, next, outbox);
            }
            What::Try(_) => unreachable!("a trial looks at no root"),
        }
    }

    fn seek(
        &mut self,
        asker: Asker,
        taking: Taking,
        newest: Newest,
        hunt: Hunt,
        outbox: &mut Outbox,
    ) {
        let store = taking.open.number;
        match hunt {
            Hunt::Look(number) => {
                let name = ObjectName::root(store, number);
                self.look(asker, (name, false), What::Seek(taking, newest), outbox);
            }
            Hunt::Newest(found) => {
                let (number, kept) = found.map_or((0, Vec::new()), |root| (root.number, root.kept));
                let incarnation = taking.open.incarnation;
                let root = Root { store, number: number + 1, incarnation, kept };
                let commit = Commit::new(root.clone(), self.limits.root_spacing);
                self.create(asker, &root, What::Take(taking, commit), outbox);
            }
            Hunt::Failed(error) => refuse(asker, store, error, outbox),
        }
    }

    fn take(
        &mut self,
        asker: Asker,
        mut taking: Taking,
        commit: Commit,
        next: Next,
        outbox: &mut Outbox,
    ) {
        let store = taking.open.number;
        match next {
            Next::Create => {
                let root = commit.root().clone();
                self.create(asker, &root, What::Take(taking, commit), outbox);
            }
            Next::Look { number, put } => {
                let name = ObjectName::root(store, number);
                self.look(asker, (name, put), What::Take(taking, commit), outbox);
            }
            Next::End(End::Committed) => self.begin(asker, taking.open, commit.into_root(), outbox),
            Next::End(End::Taken(there) | End::Passed(there)) => {
                taking.rounds += 1;
                if taking.rounds == ROOT_ROUNDS_MAX {
                    let what = format!(
                        "other openings of store {store} commit at the same time; see that one \
                         host has it, and open it again"
                    );
                    return refuse(asker, store, Error::new(ErrorKind::Fenced, what), outbox);
                }
                let mut newest = Newest::new(store, self.limits.root_spacing, Some(there));
                let hunt = newest.aim();
                self.seek(asker, taking, newest, hunt, outbox);
            }
            Next::End(End::Unknown(error)) => refuse(asker, store, error, outbox),
        }
    }

    // The store is this opening's: it becomes what the root keeps.
    fn begin(&mut self, asker: Asker, open: Box<OpenStore>, root: Root, outbox: &mut Outbox) {
        let (session, user_data) = asker;
        if root.kept.is_empty() {
            let keep = open.keep;
            let mut store = Store::new(*open, &self.limits);
            store.lineage = Some(Lineage { root, keep, commits: false });
            return done(outbox, session, user_data, self.add(store));
        }
        let number = open.number;
        let handles: Vec<Vec<u8>> = root.kept.iter().map(Handle::encode).collect();
        let gathered = self.gather(asker, &handles, Purpose::OpenRoot(open, root), outbox);
        if let Err(error) = gathered {
            refuse(asker, number, error, outbox);
        }
    }

    /// The manifests arrived of what a root keeps: the newest is what the store holds, and all of
    /// them are its own from here on. Where an older one cannot be read, nobody knows what it
    /// needs: then none is, and what they leave is for a scrub.
    pub(super) fn restore_root(
        &mut self,
        open: OpenStore,
        root: Root,
        kept: Vec<(Handle, Result<Manifest>)>,
    ) -> Result<ControlResult> {
        let bad = kept.iter().find_map(|(_, manifest)| manifest.as_ref().err());
        if let Some(error) = bad {
            log::warn!(
                "store {}: an older checkpoint that it keeps cannot be read: {}; it begins with \
                 the newest, and deletes nothing of those before it: scrub the DFS later",
                open.number,
                error.text
            );
        }
        let takes_over = bad.is_none();
        let kept = kept.into_iter().filter_map(|(handle, read)| Some((handle, read.ok()?)));
        let kept: Vec<(Handle, Manifest)> = kept.collect();
        let (groups, range, keep) = (open.key_groups, open.range, open.keep);
        if let Some((handle, other)) =
            kept.iter().find(|(_, m)| (m.key_groups, m.range) != (groups, range))
        {
            let ((first, last), (low, high)) = (range, other.range);
            return Err(Error::invalid(format!(
                "{} holds key groups {low} to {high} of {}, and the store is opened with {first} \
                 to {last} of {groups}: a store that keeps its checkpoints itself is opened with \
                 the same ones always",
                handle.manifest, other.key_groups
            )));
        }
        let mut older = kept.into_iter();
        let (handle, manifest) =
            older.next().expect("a root without checkpoints is an empty store");
        let newest = [(handle.manifest, manifest)];
        let opened = self.restore(open, &newest).map_err(|error| unreadable(&root, error))?;
        if let ControlResult::Opened(id, _) = &opened
            && let Some(store) = self.store_mut(*id)
        {
            let newest = newest.into_iter().map(|(_, manifest)| (handle, manifest));
            for (handle, manifest) in newest.chain(older).filter(|_| takes_over) {
                store.claim(handle, manifest.tables.iter().map(|table| table.name));
            }
            store.lineage = Some(Lineage { root, keep, commits: false });
        }
        Ok(opened)
    }

    /// The manifest of a checkpoint is durable: its root is next.
    pub(super) fn commit_root(
        &mut self,
        asker: Asker,
        id: StoreId,
        handle: Handle,
        outbox: &mut Outbox,
    ) {
        let (session, user_data) = asker;
        let store = match self.index(id) {
            Ok(index) => self.stores[index].as_ref().expect("just looked up"),
            Err(error) => return done(outbox, session, user_data, Err(error)),
        };
        let Lineage { root, keep, .. } = store.lineage.as_ref().expect("it keeps its checkpoints");
        let kept = std::iter::once(handle).chain(root.kept.iter().copied());
        let root = Root {
            store: root.store,
            number: root.number + 1,
            incarnation: store.incarnation,
            kept: kept.take(*keep).collect(),
        };
        let commit = Commit::new(root.clone(), self.limits.root_spacing);
        self.create(asker, &root, What::Commit(id, handle, commit), outbox);
    }

    fn commit(
        &mut self,
        asker: Asker,
        (id, handle): (StoreId, Handle),
        commit: Commit,
        next: Next,
        outbox: &mut Outbox,
    ) {
        let (session, user_data) = asker;
        let store = commit.root().store;
        let error = match next {
            Next::Create => {
                let root = commit.root().clone();
                return self.create(asker, &root, What::Commit(id, handle, commit), outbox);
            }
            Next::Look { number, put } => {
                let name = ObjectName::root(store, number);
                let what = What::Commit(id, handle, commit);
                return self.look(asker, (name, put), what, outbox);
            }
            Next::End(End::Committed) => {
                self.counters.checkpoints += 1;
                done(outbox, session, user_data, Ok(ControlResult::Handle(handle.encode())));
                return self.committed(id, commit.into_root(), outbox);
            }
            Next::End(End::Taken(there)) => fenced(&there),
            Next::End(End::Passed(above)) => passed(commit.root(), &above),
            Next::End(End::Unknown(cause)) => unknown(commit.root(), &cause),
        };
        let count = match error.kind {
            ErrorKind::Fenced => &mut self.counters.commits_fenced,
            _ => &mut self.counters.commits_unknown,
        };
        *count += 1;
        done(outbox, session, user_data, Err(error.clone()));
        self.lose(id, error, outbox);
    }

    // What the new root does not keep any more may go, and no other opening had put one.
    fn committed(&mut self, id: StoreId, root: Root, outbox: &mut Outbox) {
        let spacing = self.limits.root_spacing;
        let Some(store) = self.store_mut(id).filter(|store| store.poison.is_none()) else { return };
        let lineage = store.lineage.as_mut().expect("it keeps its checkpoints");
        let name = obsolete(root.number, spacing).map(|old| ObjectName::root(root.store, old));
        let before = std::mem::replace(&mut lineage.root, root).kept;
        let kept = &lineage.root.kept;
        let gone = before.into_iter().filter(|handle| !kept.contains(handle));
        let gone: Vec<Handle> = gone.collect();
        let names = gone.iter().flat_map(|handle| store.ownership.release(handle)).chain(name);
        outbox.io.extend(names.map(|name| IoRequest::Delete { name }));
        self.commit_ended(id, outbox);
    }

    /// The next checkpoint of a store may be committed.
    pub(super) fn commit_ended(&mut self, id: StoreId, outbox: &mut Outbox) {
        if let Some(lineage) = self.store_mut(id).and_then(|store| store.lineage.as_mut()) {
            lineage.commits = false;
            self.finish_cuts(id.place(), outbox);
        }
    }

    // The store is another opening's, or may be: it answers nothing and deletes nothing any more.
    fn lose(&mut self, id: StoreId, error: Error, outbox: &mut Outbox) {
        let Some(store) = self.store_mut(id).filter(|store| store.poison.is_none()) else { return };
        log::error!("store {}: {}", store.number, error.text);
        store.poison = Some(error.clone());
        give_up(store, outbox);
        self.refuse_waiting(id.place(), &error, outbox);
    }
}

fn refuse((session, user_data): Asker, number: u64, error: Error, outbox: &mut Outbox) {
    failed(number, &error);
    done(outbox, session, user_data, Err(error));
}

/// Says of damage which checkpoint it keeps a store from, and how to go on from another.
pub(super) fn unreadable(root: &Root, error: Error) -> Error {
    if !matches!(error.kind, ErrorKind::Corrupt | ErrorKind::MissingObject) {
        return error;
    }
    let (name, store, older) = (root.name(), root.store, root.kept.len().saturating_sub(1));
    let what = format!(
        "store {store} begins with its newest checkpoint, which cannot be read: {}. {name} names \
         it and {older} older ones: `aquifer verify {name} --dfs URL` tells which are whole, and \
         `aquifer inspect {name} --dfs URL` shows their handles. Put back what is missing or \
         damaged, or go on from an older handle: open a store of another number with it, which \
         does not keep its checkpoints itself, or take its state out with `aquifer export`",
        error.text
    );
    Error::new(error.kind, what)
}

/// What the host of an opening does that another one took the store from.
const LOST: &str = "This opening commits and deletes nothing any more; close it, and see that one \
                    host has the store: to open it again takes it from the other, and begins with \
                    the newest root";

fn fenced(there: &Root) -> Error {
    let (name, store) = (there.name(), there.store);
    let by = there.incarnation.host_epoch;
    Error::new(
        ErrorKind::Fenced,
        format!(
            "another opening took store {store} over, of host epoch {by}: {name} is its root. The \
             checkpoint was not committed. {LOST}"
        ),
    )
}

fn passed(root: &Root, above: &Root) -> Error {
    let (name, there, store) = (root.name(), above.name(), root.store);
    let by = above.incarnation.host_epoch;
    Error::new(
        ErrorKind::UnknownCommit,
        format!(
            "another opening took store {store} over, of host epoch {by}, and is at {there}: \
             whether {name} was committed before is not known any more. {LOST}"
        ),
    )
}

fn unknown(root: &Root, cause: &Error) -> Error {
    Error::new(
        ErrorKind::UnknownCommit,
        format!(
            "it is not known whether {} was committed: {}. This opening commits and deletes \
             nothing any more; close it, and open store {} again: it begins with this checkpoint, \
             or with the one before",
            root.name(),
            cause.text,
            root.store
        ),
    )
}
