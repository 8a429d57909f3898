//! Who speaks to a store: a client with the credentials of the moment. Where the host gives them, a
//! new client takes the place of the old one before they end, and after the store refused them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opendal::Operator;
use tokio::sync::Mutex;

use crate::io::clock;
use crate::io::host::calls::Calls;
use crate::io::host::credentials::{Access, CredentialSource, Given, Lease, SOURCES};
use crate::io::remote::error::plain;
use crate::io::remote::open;
use crate::io::remote::place::{Credentials, RemotePlace};
use crate::io::remote::transport::Traffic;
use crate::limits::{CREDENTIALS_PAUSE_MS, CREDENTIALS_SPARE_S};
use crate::types::error::ErrorKind;
use crate::types::{Error, Nanos, Result};

const NS_PER_S: u64 = 1_000_000_000;

/// A client, which is replaced as a whole.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) operator: Operator,
    // Tries failed parts again.
    pub(super) patient: Operator,
    /// When its credentials end, on the clock of this process.
    pub(super) expires: Option<Nanos>,
    // The store refused it something.
    refused: Arc<AtomicBool>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Clients {
    place: RemotePlace,
    traffic: Arc<Traffic>,
    origin: Origin,
}

#[derive(Debug)]
enum Origin {
    Fixed(Arc<Client>),
    Source(Source),
}

struct Source {
    calls: Calls<dyn CredentialSource>,
    state: Mutex<State>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a source of the host")
    }
}

#[derive(Default)]
struct State {
    client: Option<Arc<Client>>,
    // When the host answered last, or did not in time, and what it refused then.
    asked: Option<Nanos>,
    refusal: Option<Error>,
}

impl Clients {
    pub(super) fn new(place: &RemotePlace, access: &Access, traffic: Traffic) -> Result<Self> {
        let (place, traffic) = (place.clone(), Arc::new(traffic));
        let given = !matches!(access, Access::Environment);
        if given && place.credentials != Credentials::Environment {
            return Err(Error::invalid(format!(
                "DFS url {}: the engine has credentials of its own, and the url names others with \
                 credentials=; leave one out",
                place.label()
            )));
        }
        let origin = match access {
            Access::Environment => {
                Origin::Fixed(connect(&place, &traffic, &Given::default(), None)?)
            }
            Access::Given(given) => Origin::Fixed(connect(&place, &traffic, given, None)?),
            Access::Source(name) => {
                // One at a time: whoever comes meanwhile waits for what it brings.
                let calls = Calls::new(SOURCES.find(name)?, 1);
                Origin::Source(Source { calls, state: Mutex::default() })
            }
        };
        Ok(Self { place, traffic, origin })
    }

    pub(super) fn close(&self, patience: Duration) -> Result<()> {
        match &self.origin {
            Origin::Fixed(_) => Ok(()),
            Origin::Source(source) => source.calls.close(patience),
        }
    }

    /// The client of the moment; on the thread of stores.
    pub(super) async fn client(&self) -> Result<Arc<Client>> {
        match &self.origin {
            Origin::Fixed(client) => Ok(client.clone()),
            Origin::Source(source) => self.renewed(source).await,
        }
    }

    async fn renewed(&self, source: &Source) -> Result<Arc<Client>> {
        let mut state = source.state.lock().await;
        let now = clock::now();
        let good = state.client.clone().filter(|client| !client.should_go(now));
        let pause = CREDENTIALS_PAUSE_MS * 1_000_000;
        let just_asked = state.asked.is_some_and(|asked| now < asked.saturating_add(pause));
        if let Some(client) = good.or_else(|| state.client.clone().filter(|_| just_asked)) {
            return Ok(client);
        }
        if let Some(refusal) = state.refusal.as_ref().filter(|_| just_asked) {
            return Err(refusal.clone());
        }
        let asked = self.ask(source).await;
        state.asked = Some(clock::now());
        match asked {
            Ok(client) => {
                state.refusal = None;
                state.client = Some(client.clone());
                Ok(client)
            }
            Err(error) => {
                let error = self.named(&error);
                state.refusal = Some(error.clone());
                let last = state.client.clone().ok_or_else(|| error.clone())?;
                log::warn!("{}; the old ones serve on while they last", error.text);
                Ok(last)
            }
        }
    }

    async fn ask(&self, source: &Source) -> Result<Arc<Client>> {
        let label = self.place.label();
        let ask = move |source: &(dyn CredentialSource + 'static)| source.credentials(&label);
        let Lease { given, expires_s } = source.calls.call(ask, |_, _| ()).await??;
        let expires = expires_s.map(|end_s| on_own_clock("they have", end_s)).transpose()?;
        connect(&self.place, &self.traffic, &given, expires)
    }

    fn named(&self, error: &Error) -> Error {
        let kind = match error.kind {
            // Whoever asks for an object would take it for what became of that.
            ErrorKind::MissingObject | ErrorKind::Corrupt => ErrorKind::Invalid,
            kind => kind,
        };
        let (label, why) = (self.place.label(), plain(&error.text));
        Error::new(kind, format!("the host's credentials for {label}: {why}"))
    }
}

impl Client {
    fn should_go(&self, now: Nanos) -> bool {
        let spare = CREDENTIALS_SPARE_S * NS_PER_S;
        let ends = self.expires.is_some_and(|end| end <= now.saturating_add(spare));
        ends || self.refused.load(Ordering::Relaxed)
    }
}

fn connect(
    place: &RemotePlace,
    traffic: &Arc<Traffic>,
    given: &Given,
    expires: Option<Nanos>,
) -> Result<Arc<Client>> {
    let refused = Arc::<AtomicBool>::default();
    let (operator, patient) = open::operators(place, traffic, given, &refused)?;
    Ok(Arc::new(Client { operator, patient, expires, refused }))
}

/// When what ends at `expires_s` does so on the clock of this process.
pub(super) fn on_own_clock(it_has: &str, expires_s: i64) -> Result<Nanos> {
    let left_s = expires_s.saturating_sub(clock::unix_s());
    match u64::try_from(left_s) {
        Ok(left) if left > 0 => Ok(clock::now().saturating_add(left.saturating_mul(NS_PER_S))),
        // The next ones may not have.
        _ => {
            let what = format!("{it_has} ended {} s ago", left_s.unsigned_abs());
            Err(Error::new(ErrorKind::Io, what))
        }
    }
}
