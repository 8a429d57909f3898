//! How a run is watched from outside: its statistics page, which `aquifer top` reads, and its
//! metrics as OpenMetrics over HTTP.

mod metrics;
mod openmetrics;
pub mod pages;

use std::path::PathBuf;

use anyhow::Result;
use aquifer::shard::engine::Engine;

pub use metrics::Address;

use self::metrics::Server;
use crate::interrupt;

/// What watches the engine of a run.
pub struct Watch {
    page: Option<PathBuf>,
    server: Option<Server>,
}

impl Watch {
    /// Finds the place of the page, and listens where metrics are asked for. A run without a place
    /// for its page says so and goes on.
    ///
    /// # Errors
    /// An address that cannot be listened on.
    pub fn start(metrics: Option<Address>) -> Result<Self> {
        let page = pages::own_path().map_err(|error| eprintln!("no statistics page: {error:#}"));
        page.iter().for_each(|page| interrupt::remove_at_end(page));
        Ok(Self { page: page.ok(), server: metrics.map(Server::start).transpose()? })
    }

    /// Where the engine is to keep its page.
    #[must_use]
    pub fn page(&self) -> Option<PathBuf> {
        self.page.clone()
    }

    /// From here on metrics are of this engine.
    pub fn follow(&self, engine: &Engine) {
        if let Some(server) = &self.server {
            server.follow(engine.statistics_source());
        }
    }
}
