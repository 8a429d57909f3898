//! Floor 6: checkpoints: handles, which objects they keep alive, and the roots that name the newest
//! one where no coordinator does.

pub mod commit;
pub mod handle;
pub mod newest;
pub mod ownership;
pub mod root;
