//! What the end of a GET means for the read it was to serve.

use crate::io::http::connections::{EndedGet, Outcome};
use crate::io::http::response::Unusual;
use crate::io::objects::Route;
use crate::io::read_op::Op;
use crate::io::reads::Reads;
use crate::io::stored;
use crate::io::values::IoDone;
use crate::types::error::ErrorKind;
use crate::types::{Error, Nanos};

impl Reads {
    /// A GET ended: the answer of its read goes to `done`, unless it is tried again or is not due
    /// yet.
    pub(crate) fn complete_get(&mut self, ended: EndedGet, now: Nanos, done: &mut Vec<IoDone>) {
        let EndedGet { mut op, outcome } = ended;
        let answer = match outcome {
            Outcome::Done => {
                if let Route::Http(target, _) = &self.objects.of_read(op.object).route {
                    target.serve();
                }
                self.end(op, Ok(()), now)
            }
            Outcome::Failed { .. } if self.objects.of_read(op.object).route.leave_url_of_host() => {
                self.counters.http.fallbacks += 1;
                self.ask(op);
                None
            }
            Outcome::Failed { why, wait } => {
                let error = Error::new(ErrorKind::Io, format!("{}: {why}", self.what(&op)));
                if wait > 0 {
                    op.due = op.due.max(now.saturating_add(wait));
                }
                let left = self.try_later(op, error, now);
                left.and_then(|(op, error)| self.fall_back(op, error, now))
            }
            Outcome::Unusual(why) => {
                let error = self.unusual(&op, &why);
                self.fall_back(op, error, now)
            }
        };
        done.extend(answer);
    }

    fn what(&mut self, op: &Op) -> String {
        let name = self.objects.of_read(op.object).name;
        format!("reading {} bytes at {} of {name}", op.buf.bytes().len(), op.offset)
    }

    fn unusual(&mut self, op: &Op, why: &Unusual) -> Error {
        let kind = match why {
            Unusual::PastEnd => {
                let name = self.objects.of_read(op.object).name;
                return stored::past_end(name, op.offset + op.buf.bytes().len() as u64);
            }
            Unusual::Missing => ErrorKind::MissingObject,
            Unusual::NoRing => ErrorKind::Unsupported,
            _ => ErrorKind::Io,
        };
        Error::new(kind, format!("{}: {why}", self.what(op)))
    }

    // The ring does not serve this read, and `error` says why: who else can, does.
    fn fall_back(&mut self, op: Op, error: Error, now: Nanos) -> Option<IoDone> {
        self.counters.http.fallbacks += 1;
        let route = &mut self.objects.of_read(op.object).route;
        if let Route::Http(target, Some(remote)) = route {
            // A target that never served would not do the next time either.
            let wants_target = target.has_served() || target.expires <= now;
            *route = Route::Remote { remote: remote.clone(), wants_target };
        }
        if let Route::Http(..) = route {
            return self.answer(op, Err(error), now);
        }
        self.ask(op);
        None
    }
}
