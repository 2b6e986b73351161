//! By which route an order leaves: what guards or sells only by one that has answered since it was decided.
//!
//! An order that leaves by a route which is dead already is in doubt until its absence is proven, and nothing of its
//! trade is sold until then. So the route is asked for the venue's time while the order becomes durable; where it gives
//! no answer the other is asked, and the order leaves by whichever answers first.

use std::time::{Duration, Instant};

use actix::{Addr, AsyncContext as _, Context, Handler, Message};
use connectors::binance::trade::{Cost, Lane};
use strategies::live::Role;

use super::route::Route;
use super::{ExchangeConnection, deliver};
use crate::live;

/// How long the socket has to answer until REST is asked as well.
const REST_AFTER: Duration = Duration::from_millis(100);

/// How long REST has to answer until what guards or sells shares the socket with what is not answered yet.
const SHARED_AFTER: Duration = Duration::from_millis(300);

/// The first wait before a route is asked again that gave no answer; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// The longest one.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// The questions under way that are to prove that a route works.
#[derive(Debug, Default)]
pub(super) struct Probes {
    rest: Probe,
    socket: Probe,
}

#[derive(Debug, Default)]
struct Probe {
    /// When the one under way was asked.
    asked_at: Option<Instant>,
    failures: u32,
    /// When the next may be asked.
    next_at: Option<Instant>,
}

impl Probe {
    fn waits_longer_than(&self, wait: Duration) -> bool {
        self.asked_at.is_some_and(|at| at.elapsed() >= wait)
    }
}

impl Probes {
    fn of(&mut self, route: Route) -> &mut Probe {
        match route {
            Route::Rest => &mut self.rest,
            Route::Socket => &mut self.socket,
        }
    }
}

/// A route was asked whether it works.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Probed {
    route: Route,
    is_answered: bool,
}

/// An order that guards or sells is about to become durable: the route by which it will leave is tried meanwhile.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Prepare;

/// With how many unanswered orders and cancels an order may share the socket; else it leaves by REST, over a connection
/// of its own. Should the socket break, all that shares it is in doubt at once, and what the venue had not read yet stays
/// so until its absence is proven. What guards or sells shares it with nothing, unless REST does not answer.
const fn pipelined(role: Role) -> usize {
    if role.is_entry() { 4 } else { 0 }
}

impl ExchangeConnection {
    /// The route by which an order may leave that was decided then. `None` while none is known to work: then they are
    /// asked, and the answer sends what waits.
    pub(super) fn route_for(&mut self, role: Role, decided_at: Instant, me: &Addr<Self>) -> Option<Route> {
        let works = |route| {
            let health = self.client.health(route);
            if role.is_entry() { !health.is_suspect() } else { health.is_proven_since(decided_at) }
        };
        let (has_socket, has_rest) = (self.is_up && works(Route::Socket), works(Route::Rest));
        let is_free = self.client.socket().unanswered() <= pipelined(role);
        let is_rest_down = self.probes.rest.failures > 0 || self.probes.rest.waits_longer_than(SHARED_AFTER);
        if has_socket && (is_free || (!has_rest && is_rest_down)) {
            return Some(Route::Socket);
        }
        if has_rest {
            return Some(Route::Rest);
        }
        if self.is_up && !has_socket {
            self.probe(Route::Socket, live::lane(role), me);
        }
        let is_socket_late = self.client.health(Route::Socket).is_suspect()
            || self.probes.socket.waits_longer_than(REST_AFTER);
        if !self.is_up || has_socket || is_socket_late {
            self.probe(Route::Rest, live::lane(role), me);
        }
        if !self.is_up && is_rest_down {
            // Neither works: the socket is not to wait for as long as its last failures call for.
            self.client.socket().dial_soon();
        }
        None
    }

    fn probe(&mut self, route: Route, lane: Lane, me: &Addr<Self>) {
        let now = Instant::now();
        let probe = self.probes.of(route);
        if probe.asked_at.is_some() || probe.next_at.is_some_and(|at| at > now) {
            return;
        }
        if self.client.budget().ask(Cost::SMALL, lane).is_err() {
            return;
        }
        probe.asked_at = Some(now);
        let (client, me) = (self.client.clone(), me.clone());
        actix_rt::spawn(async move {
            deliver(&me, Probed { route, is_answered: client.probe(route).await });
        });
    }
}

impl Handler<Probed> for ExchangeConnection {
    type Result = ();

    fn handle(&mut self, Probed { route, is_answered }: Probed, ctx: &mut Context<Self>) {
        let probe = self.probes.of(route);
        probe.asked_at = None;
        if is_answered {
            (probe.failures, probe.next_at) = (0, None);
        } else {
            let wait = FIRST_WAIT * 2_u32.pow(probe.failures.min(4));
            probe.failures += 1;
            probe.next_at = Some(Instant::now() + wait.min(LONGEST_WAIT));
        }
        self.send_waiting(&ctx.address());
    }
}

impl Handler<Prepare> for ExchangeConnection {
    type Result = ();

    fn handle(&mut self, _: Prepare, ctx: &mut Context<Self>) {
        self.route_for(Role::Exit, Instant::now(), &ctx.address());
    }
}
