//! Which faults a seed injects, and how often. Each seed draws its own mix (swarm testing): a
//! fault that is always on hides what needs a long undisturbed run.

use std::fmt;
use std::ops::{Index, IndexMut};

use aquifer::limits::MERGES_MAX;

use crate::sim::rng::Rng;

/// Each fault with the rate at most that a seed draws, chances in ten thousand.
macro_rules! faults {
    ($($(#[$doc:meta])* $fault:ident: $most:literal,)*) => {
        /// What may go wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault {
            $($(#[$doc])* $fault,)*
        }

        impl Fault {
            /// All of them, by number.
            pub const ALL: &[Self] = &[$(Self::$fault,)*];

            fn most(self) -> usize {
                match self {
                    $(Self::$fault => $most,)*
                }
            }
        }
    };
}

faults! {
    /// A read of the shard or a job fails.
    ReadError: 500,
    /// A bit of what a read or a load returns is flipped on the way.
    ReadFlip: 500,
    /// A read brings a part of its bytes; behind them its buffer keeps what an older read left.
    /// Half of these reads fail. The others say that they brought all of it: the real ring repeats
    /// a short read until it is whole or has failed, so a part that passes for the whole is what
    /// may come from below it, and only a checksum tells. A job gets no buffer with a failure, so
    /// for its reads this is the case that counts.
    ReadShort: 1000,
    /// A read brings the page behind the one asked for, or what another object has in its place.
    ReadAstray: 500,
    /// A load fails.
    LoadError: 3000,
    /// A load brings the first half of its bytes.
    LoadShort: 3000,
    /// A load brings another object of the kind.
    LoadAstray: 3000,
    /// An object is not found for a while after it was put. Half of those who ask then are
    /// answered when it is, the others give up before.
    Hidden: 1000,
    /// A job cannot start to write an object.
    CreateError: 2000,
    /// An append of a job fails.
    AppendError: 500,
    /// A seal fails, the object did not become visible.
    SealError: 2000,
    /// A seal fails although the object became visible.
    SealLostReply: 2000,
    /// A seal fails, and the object becomes visible when nobody thinks of it any more.
    SealLate: 2000,
    /// A sealed object is put once more then, whatever became of it.
    SealTwice: 2000,
    /// A put fails and was not applied.
    PutError: 3000,
    /// A put fails although it was applied.
    PutLostReply: 3000,
    /// A put of a manifest fails, and is applied when nobody thinks of it any more.
    PutLate: 3000,
    /// A put of a manifest is applied once more then.
    PutTwice: 3000,
    /// A put of a root fails, and is applied then. Stores without a coordinator have roots: these
    /// are in the mix of their own test.
    CreateLate: 0,
    /// A put of a root is applied once more then.
    CreateTwice: 0,
    /// A look at a root that was put not long ago finds nothing.
    LookStale: 0,
    /// A delete never happens.
    DeleteLost: 2000,
    /// A delete happens when nobody thinks of it any more.
    DeleteLate: 2000,
    /// A sealed object cannot be opened for the shard, or one that a job is about to read.
    OpenError: 500,
    /// An object of a restore cannot be opened for the shard.
    ReopenError: 500,
    /// At a turn the credentials end: for a while the DFS refuses everything.
    Denied: 20,
    /// At a turn the DFS is full: for a while it takes nothing.
    NoSpace: 20,
    /// A job breaks, and its store with it.
    JobBreaks: 20,
    /// A request to the cache on the SSD fails.
    SsdError: 500,
    /// A bit of what it brings is flipped.
    SsdFlip: 500,
    /// What is written to it is lost, and nobody is told.
    SsdLost: 2000,
    /// Others have filled the disk of the cache.
    SsdFull: 5000,
    /// No compactor takes a merge.
    ErrandRefused: 3000,
    /// A compactor is lost at a step of a merge.
    ErrandLost: 300,
    /// A compactor that took a merge is given up, and goes on.
    ErrandLate: 3000,
    /// An answer takes a hundred times as long.
    Slow: 1000,
    /// At a step of the program a bit of an object flips, and stays so.
    RestFlip: 100,
    /// Two objects have each other's bytes from then on.
    RestSwapped: 100,
    /// An object has the bytes of an older one from then on.
    RestOlder: 100,
    /// An object is gone from then on, and the engine has not deleted it.
    RestGone: 100,
}

/// Damage that stays, in few seeds: hardly anything else is reached with it.
pub(super) const AT_REST: [Fault; 4] =
    [Fault::RestFlip, Fault::RestSwapped, Fault::RestOlder, Fault::RestGone];
/// Seeds that have it, in ten thousand.
const SEEDS_AT_REST: u32 = 500;

impl Fault {
    /// True if only stores without a coordinator meet it.
    #[must_use]
    pub fn of_roots(self) -> bool {
        self.most() == 0
    }
}

/// A number for each fault.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ByFault<T>([T; Fault::ALL.len()]);

impl<T: Copy + Default> Default for ByFault<T> {
    fn default() -> Self {
        Self([T::default(); Fault::ALL.len()])
    }
}

impl<T> Index<Fault> for ByFault<T> {
    type Output = T;

    fn index(&self, fault: Fault) -> &T {
        &self.0[fault as usize]
    }
}

impl<T> IndexMut<Fault> for ByFault<T> {
    fn index_mut(&mut self, fault: Fault) -> &mut T {
        &mut self.0[fault as usize]
    }
}

impl<T: fmt::Debug + Default + PartialEq> fmt::Debug for ByFault<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = Fault::ALL.iter().zip(&self.0);
        f.debug_map().entries(all.filter(|(_, number)| **number != T::default())).finish()
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct FaultMix {
    /// Chances in ten thousand.
    pub rates: ByFault<u32>,
    /// Longest usual latency, virtual microseconds.
    pub latency_max: u64,
    /// The DFS is one that is reached over a network.
    pub is_store: bool,
    /// Most steps a job makes between two ticks.
    pub job_steps_max: usize,
    /// After so many failures in a row the jobs of a store meet no fault until one succeeds.
    pub job_failures_max: u32,
}

impl Index<Fault> for FaultMix {
    type Output = u32;

    fn index(&self, fault: Fault) -> &u32 {
        &self.rates[fault]
    }
}

impl IndexMut<Fault> for FaultMix {
    fn index_mut(&mut self, fault: Fault) -> &mut u32 {
        &mut self.rates[fault]
    }
}

/// Faults of a seed are hiccups: in an outage writes are refused, which the model knows of damage
/// that stays alone. At the last failure the other jobs of the store may be about to fail too.
const HICCUPS_MAX: u32 = FAILURES_MAX - 1 - JOBS;

/// Failures in a row at the last of which ten seconds of waits that double are over, and with them
/// the patience of a host that says nothing.
pub const FAILURES_MAX: u32 = 11;

// Of a store at once: a flush, an opening and merges.
const JOBS: u32 = 2 + MERGES_MAX as u32;

impl FaultMix {
    /// No fault, and some latency.
    #[must_use]
    pub fn calm() -> Self {
        Self {
            rates: ByFault::default(),
            latency_max: 100,
            is_store: false,
            job_steps_max: 16,
            job_failures_max: u32::MAX,
        }
    }

    /// The mix of a seed.
    pub fn draw(rng: &mut Rng) -> Self {
        let mut mix = Self {
            latency_max: rng.pick(&[1, 20, 200, 2000]),
            job_steps_max: rng.pick(&[1, 3, 16, 64]),
            job_failures_max: HICCUPS_MAX,
            ..Self::calm()
        };
        mix.is_store = mix.latency_max > 20;
        if rng.chance(3000) {
            return mix;
        }
        let at_rest = rng.chance(SEEDS_AT_REST);
        for &fault in Fault::ALL {
            let drawn = rng.chance(4000) && (at_rest || !AT_REST.contains(&fault));
            if drawn && fault.most() > 0 {
                mix[fault] = rng.below(fault.most()) as u32;
            }
        }
        mix
    }

    fn any(&self, faults: &[Fault]) -> bool {
        faults.iter().any(|&fault| self[fault] > 0)
    }

    /// True if nothing goes wrong: answers may only be slow.
    #[must_use]
    pub fn is_calm(&self) -> bool {
        use Fault::{LoadAstray, LoadError, LoadShort, PutError, PutLostReply};
        let fails = [LoadAstray, LoadError, LoadShort, PutError, PutLostReply];
        !self.leaves_orphans() && !self.any(&fails)
    }

    /// True if reads may fail.
    #[must_use]
    pub fn reads_fail(&self) -> bool {
        use Fault::{Denied, Hidden, OpenError, ReadAstray, ReadError, ReadFlip, ReadShort};
        let reads = [ReadAstray, ReadError, ReadFlip, ReadShort, OpenError, Fault::ReopenError];
        self.any(&reads) || self.any(&[Denied, Hidden]) || self.any(&AT_REST)
    }

    /// True if what a job wrote may stay behind without an owner.
    #[must_use]
    pub fn leaves_orphans(&self) -> bool {
        use Fault::{AppendError, CreateError, SealError, SealLate, SealLostReply, SealTwice};
        use Fault::{CreateLate, CreateTwice, DeleteLate, DeleteLost, PutLate, PutTwice};
        self.reads_fail()
            || self.any(&[AppendError, CreateError, SealError, SealLate, SealLostReply, SealTwice])
            || self.any(&[CreateLate, CreateTwice, DeleteLate, DeleteLost, PutLate, PutTwice])
            || self.any(&[Fault::NoSpace, Fault::JobBreaks, Fault::ErrandLost, Fault::ErrandLate])
    }
}
