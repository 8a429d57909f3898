//! Hedged requests: what takes longer than nearly all requests to its server is sent once more, on
//! another connection. The first answer serves the read and the other request is dropped; one that
//! fails leaves the read to the other. A few in a hundred requests at most are sent so.

use crate::io::http::connections::Connections;
use crate::limits::HEDGE_BUDGET_DIVISOR;
use crate::mem::slab::Token;
use crate::types::Nanos;

impl Connections {
    /// Hedges requests from now on.
    pub(crate) fn set_hedge(&mut self) {
        self.hedges = true;
    }

    /// Sends requests that are late once more.
    pub(super) fn hedge(&mut self, now: Nanos) {
        if !self.hedges {
            return;
        }
        let late = |token: &Token| self.late_at(*token).is_some_and(|late| late <= now);
        let late: Vec<Token> = self.links.tokens().filter(late).collect();
        late.into_iter().for_each(|token| self.send_again(token, now));
    }

    /// When the request of a connection is late, if it would be hedged then.
    pub(super) fn late_at(&self, token: Token) -> Option<Nanos> {
        let link = self.links.get(token).filter(|link| self.hedges && link.twin.is_none())?;
        link.request.as_ref()?;
        Some(link.sent.saturating_add(self.places[link.place].tail.late_after()?))
    }

    fn send_again(&mut self, token: Token, now: Nanos) {
        let Some(link) = self.links.get(token) else { return };
        let (at, Some(request)) = (link.place, &link.request) else { return };
        let (target, asked) = (request.target.clone(), request.asked());
        let place = &self.places[at];
        let within = (self.counters.hedges + 1) * HEDGE_BUDGET_DIVISOR <= self.counters.requests;
        if !within || place.busy >= place.allowed() || place.not_before > now {
            return;
        }
        let idle = self.places[at].idle.pop();
        if idle.is_none() && !self.has_room() {
            return;
        }
        let Some(twin) = idle.or_else(|| self.open(at).ok()) else { return };
        self.links.get_mut(twin).expect("an idle connection lives").twin = Some(token);
        self.links.get_mut(token).expect("just looked up").twin = Some(twin);
        self.counters.hedges += 1;
        if self.send((twin, idle.is_none()), &target, asked, now).is_err() {
            self.overtaken(twin, false);
        }
    }

    /// A request ended on a connection, and `serves` its read or not. True if that is of no
    /// account, for the same request goes on elsewhere; the connection is dropped then.
    pub(super) fn overtaken(&mut self, token: Token, serves: bool) -> bool {
        let Some(link) = self.links.get_mut(token) else { return true };
        let Some(twin) = link.twin.take() else { return false };
        let (request, sent) = (link.request.take(), link.sent);
        let is_hedge = request.is_none();
        let other = self.links.get_mut(twin).expect("twins end together");
        other.twin = None;
        if !serves {
            if !is_hedge {
                other.request = request;
            }
            self.drop_link(token);
            return true;
        }
        let (request, sent) =
            if is_hedge { (other.request.take(), other.sent) } else { (request, sent) };
        self.drop_link(twin);
        self.counters.hedges_won += u64::from(is_hedge);
        let link = self.links.get_mut(token).expect("just looked up");
        (link.request, link.sent) = (request, sent);
        false
    }

    // Gives a connection up whose request is none of its own any more.
    fn drop_link(&mut self, token: Token) {
        let Some(link) = self.links.get_mut(token) else { return };
        self.places[link.place].busy -= 1;
        if link.in_kernel {
            link.is_over = true;
            self.cancels.push(token);
        } else {
            self.links.free(token);
        }
    }
}

#[cfg(test)]
#[path = "hedge_tests.rs"]
mod tests;
