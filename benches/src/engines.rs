//! The engines by name. A new one is added here and nowhere else.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, ensure};
use aquifer_tools::load::{Setup, Target, Workload};
#[cfg(any(feature = "rocksdb", feature = "cobble"))]
use aquifer_tools::units::count_in;
use serde::{Deserialize, Serialize};

#[cfg(feature = "cobble")]
use crate::cobble::{self, CobbleTarget};
use crate::disk::DiskTarget;
use crate::null::NullTarget;
#[cfg(feature = "rocksdb")]
use crate::rocks::RocksTarget;

/// What `versus` compares when it is not told.
#[cfg(feature = "rocksdb")]
pub const ENGINES_DEFAULT: &str = "aquifer,rocksdb,disk";
/// What `versus` compares when it is not told.
#[cfg(not(feature = "rocksdb"))]
pub const ENGINES_DEFAULT: &str = "aquifer,disk";

#[cfg(feature = "rocksdb")]
const ROCKSDB_BATCH_DEFAULT: u32 = 256;
#[cfg(feature = "cobble")]
const COBBLE_THREADS_DEFAULT: u32 = 16;

/// An engine that can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Engine {
    /// This engine.
    Aquifer,
    /// What the hardware allows.
    Disk,
    /// What the load generator costs.
    Null,
    /// RocksDB, so many keys a call.
    #[cfg(feature = "rocksdb")]
    RocksDb {
        /// Keys per `multi_get` and per write batch.
        batch: u32,
    },
    /// Cobble, called by so many threads.
    #[cfg(feature = "cobble")]
    Cobble {
        /// Threads of the host, each with one call.
        threads: u32,
    },
}

/// Options of engines that are not the load generator's.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, clap::Args)]
pub struct EngineArgs {
    /// Let RocksDB compress its blocks with lz4
    #[arg(long)]
    pub rocksdb_lz4: bool,
}

impl Engine {
    /// Refuses workloads the engine does not have, with the reason.
    pub fn supports(self, workload: Workload) -> Result<()> {
        ensure!(workload != Workload::YcsbE, "scans are those of a map: use aquifer bench");
        let reads_only = self == Self::Disk && workload != Workload::Load;
        ensure!(
            !(reads_only && workload.writes()),
            "the disk engine has no updates, so no {workload}: it is the limit of reads"
        );
        Ok(())
    }

    /// Where its data lie, and whose they are: RocksDB's are the same whatever the batch, Cobble's
    /// whatever the threads.
    pub fn directory(self) -> &'static str {
        match self {
            Self::Aquifer => "aquifer",
            Self::Disk => "disk",
            Self::Null => "null",
            #[cfg(feature = "rocksdb")]
            Self::RocksDb { .. } => "rocksdb",
            #[cfg(feature = "cobble")]
            Self::Cobble { .. } => "cobble",
        }
    }

    /// Requests in flight and a submit, of an engine that fixes them: its calls block.
    pub fn flight(self) -> Option<(u32, u32)> {
        match self {
            Self::Aquifer | Self::Disk | Self::Null => None,
            // Until the whole batch is there: more in flight would only queue before it.
            #[cfg(feature = "rocksdb")]
            Self::RocksDb { batch } => Some((batch, batch)),
            #[cfg(feature = "cobble")]
            Self::Cobble { threads } => Some(cobble::flight(threads)),
        }
    }
}

/// Opens an engine.
pub fn target(engine: Engine, own: EngineArgs, setup: &Setup) -> Result<Box<dyn Target>> {
    #[cfg(not(feature = "rocksdb"))]
    ensure!(
        !own.rocksdb_lz4,
        "--rocksdb-lz4: this build has no RocksDB, build with --features rocksdb"
    );
    Ok(match engine {
        Engine::Aquifer => aquifer_tools::load::aquifer::open(setup)?,
        Engine::Disk => Box::new(DiskTarget::open(setup)?),
        Engine::Null => Box::new(NullTarget::open(setup)),
        #[cfg(feature = "rocksdb")]
        Engine::RocksDb { .. } => Box::new(RocksTarget::open(setup, own.rocksdb_lz4)?),
        #[cfg(feature = "cobble")]
        Engine::Cobble { threads } => Box::new(CobbleTarget::open(setup, threads)?),
    })
}

impl FromStr for Engine {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "aquifer" => return Ok(Self::Aquifer),
            "disk" => return Ok(Self::Disk),
            "null" => return Ok(Self::Null),
            #[cfg(feature = "rocksdb")]
            "rocksdb" => return Ok(Self::RocksDb { batch: ROCKSDB_BATCH_DEFAULT }),
            #[cfg(feature = "cobble")]
            "cobble" => return Ok(Self::Cobble { threads: COBBLE_THREADS_DEFAULT }),
            _ => {}
        }
        #[cfg(feature = "rocksdb")]
        if let Some(batch) = name.strip_prefix("rocksdb-")
            && let Ok(batch) = count_in(1..=65_536)(batch)
        {
            return Ok(Self::RocksDb { batch });
        }
        #[cfg(feature = "cobble")]
        if let Some(threads) = name.strip_prefix("cobble-")
            && let Ok(threads) = count_in(1..=1024)(threads)
        {
            return Ok(Self::Cobble { threads });
        }
        let rocksdb = if cfg!(feature = "rocksdb") {
            "rocksdb and rocksdb-N (N keys a call, such as 64, 256, 1024)"
        } else {
            "no rocksdb, which needs --features rocksdb"
        };
        let cobble = if cfg!(feature = "cobble") {
            "cobble and cobble-N (N threads, such as 1, 16, 64)"
        } else {
            "no cobble, which needs --features cobble"
        };
        Err(format!(
            "this build has no engine '{name}': it has aquifer, disk, null; {rocksdb}; {cobble}"
        ))
    }
}

aquifer_tools::as_text!(Engine);

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aquifer => f.write_str("aquifer"),
            Self::Disk => f.write_str("disk"),
            Self::Null => f.write_str("null"),
            #[cfg(feature = "rocksdb")]
            Self::RocksDb { batch } => write!(f, "rocksdb-{batch}"),
            #[cfg(feature = "cobble")]
            Self::Cobble { threads } => write!(f, "cobble-{threads}"),
        }
    }
}
