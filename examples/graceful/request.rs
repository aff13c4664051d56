//! One request: its budget, its scope, and what becomes of it if the client goes away.
//!
//! Two futures are at work. hyper polls the one that waits for the answer, and drops it if the client goes
//! away; with it goes the [`Life`] of the request. The handler runs in a child of the nursery `requests`,
//! with a scope of its own. So a client that goes away *cancels* the handler's scope, whose cleanups run;
//! and a handler that does not end has a name in the shutdown's report.

use crate::answer::{Answer, Cut, Sending};
use crate::budget;
use crate::handlers::Call;
use crate::life::{Life, Line};
use crate::route::Route;
use crate::runtime::Net;
use crate::server::{Requests, Server};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use smol::channel::{self, Sender};
use smol::future::FutureExt;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use umbel::{Budget, CancellationToken, Clock, Nursery, ReasonKind};

/// What hyper sends back. An error closes the connection without an answer.
pub(crate) async fn answer<N: Net>(
    server: Arc<Server<N>>,
    requests: Requests,
    line: Arc<Line>,
    request: Request<Incoming>,
) -> Result<Response<Sending>, Cut> {
    let ticket = server.counts.begin();
    let route = Route::of(request.method(), request.uri(), server.args.stubborn);
    let is_head = request.method() == Method::HEAD;
    let name: Arc<str> = format!("request {} {}", ticket.number(), route.name()).into();
    let (log, log_all) = (&server.log, server.args.log_requests);
    let mut life = Life::begin(Arc::clone(&name), ticket, &line, log, log_all);

    let now = server.net.timer().now();
    let answer = match budget::of(request.headers(), now) {
        Err(why) => Some(Answer::text(StatusCode::BAD_REQUEST, why)),
        Ok(budget) if budget.is_spent(now) => Some(too_late("before the request came")),
        Ok(budget) => {
            let (answer, answered) = channel::bounded(1);
            let child = requests.child().name(route.name());
            let scope = life.scope().clone();
            let begun = child.try_spawn_graceful(|cx| {
                let body = request.into_body();
                let stop = cx.token().clone();
                let shared = Arc::clone(&server);
                handle(shared, route, name, body, budget, scope, stop, answer)
            });
            match begun {
                Ok(_) => answered.recv().await.ok(),
                Err(_) => Some(Answer::text(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the server is shutting down",
                )),
            }
        }
    };
    let Some(answer) = answer else {
        life.cut();
        return Err(Cut);
    };
    let answer = match is_head {
        true => answer.without_content(),
        false => answer,
    };
    Ok(answer.send(life, server.closing.is_cancelled()))
}

fn too_late(when: &str) -> Answer {
    let text = format!("the request's budget was spent {when}");
    Answer::text(StatusCode::GATEWAY_TIMEOUT, text)
}

/// The handler in its scope. Its failure, and its panic, are the answer of this request and no other's
/// business.
#[expect(clippy::too_many_arguments, reason = "a closure's captures, by name")]
async fn handle<N: Net>(
    server: Arc<Server<N>>,
    route: Route,
    name: Arc<str>,
    body: Incoming,
    budget: Budget,
    scope: CancellationToken,
    stop: CancellationToken,
    answer: Sender<Answer>,
) -> io::Result<()> {
    let nursery = Nursery::new()
        .name(route.name())
        .timer(server.net.timer())
        .token(&scope)
        .deadline(budget.deadline());
    let call = Call {
        server: Arc::clone(&server),
        route,
        name: Arc::clone(&name),
        body,
        scope: nursery.handle(),
        stop,
        answer: answer.clone(),
    };
    let run = AssertUnwindSafe(nursery.run(call.run())).catch_unwind();
    let failed = |why: &str| Answer::text(StatusCode::INTERNAL_SERVER_ERROR, why);
    let instead = match run.await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(failure)) => match failure.cancelled() {
            Some(why) if why.kind() == ReasonKind::DeadlineExceeded => {
                too_late("before the answer was ready")
            }
            Some(_) => {
                server.log.say(format!("{name}: its scope was cancelled"));
                return Ok(());
            }
            None => failed(&failure.to_string()),
        },
        Err(_) => failed("the handler panicked"),
    };
    // An error: it has answered, or nobody waits.
    let _ = answer.try_send(instead);
    Ok(())
}
