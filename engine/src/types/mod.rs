//! Floor 0: ids, keys, rows, sizes and errors. Names only standard types.

pub mod error;
pub mod key;
pub mod nearest;
pub mod object;
pub mod row;
pub mod size;

pub use error::{Error, Result};
pub use key::{KeyGroup, Locality, StateId};
pub use object::{Incarnation, ObjectKind, ObjectName};
pub use row::{MergeOp, RowKind, RowRef};

/// Nanoseconds on the driver's monotonic clock; virtual in the simulator.
pub type Nanos = u64;
