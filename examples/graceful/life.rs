//! A request from its head to the end of its answer, whoever ends it; and the line it came on.

use crate::counts::{End, Ticket};
use crate::log::Log;
use hyper::StatusCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use umbel::{CancellationToken, Reason};

/// What a connection and its requests know of each other. All of it is polled by one task; the flags are
/// atomic because its future may be sent, and Relaxed is enough.
#[derive(Debug, Default)]
pub(crate) struct Line {
    busy: AtomicBool,
    cut: AtomicBool,
}

impl Line {
    /// A request on it is being answered.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed)
    }

    /// It is dropped by us, not left by the client.
    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }
}

/// Kept by whoever answers the request, and then with the answer. When it is dropped the request is over:
/// its scope is cancelled, if it has not ended.
#[derive(Debug)]
pub(crate) struct Life {
    name: Arc<str>,
    ticket: Ticket,
    status: Option<StatusCode>,
    line: Arc<Line>,
    scope: CancellationToken,
    log: Arc<Log>,
    log_all: bool,
}

impl Life {
    pub(crate) fn begin(
        name: Arc<str>,
        ticket: Ticket,
        line: &Arc<Line>,
        log: &Arc<Log>,
        log_all: bool,
    ) -> Self {
        line.busy.store(true, Ordering::Relaxed);
        if log_all {
            log.say(format!("{name}: begun"));
        }
        Life {
            name,
            ticket,
            status: None,
            line: Arc::clone(line),
            scope: CancellationToken::new(),
            log: Arc::clone(log),
            log_all,
        }
    }

    /// Cancelled when it ends.
    pub(crate) fn scope(&self) -> &CancellationToken {
        &self.scope
    }

    /// Its answer has begun.
    pub(crate) fn answer(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// The connection has all of the answer.
    pub(crate) fn answered(&mut self) {
        self.ticket.end(match self.status {
            Some(StatusCode::SERVICE_UNAVAILABLE) => End::Refused,
            _ => End::Answered,
        });
    }

    /// There will be no answer, or no more of it.
    pub(crate) fn cut(&mut self) {
        self.ticket.end(End::Cut);
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.line.busy.store(false, Ordering::Relaxed);
        if self.ticket.has_ended_as() == End::Gone && self.line.cut.load(Ordering::Relaxed) {
            self.cut();
        }
        self.scope.cancel_with(Reason::dropped());
        let (name, status) = (&self.name, self.status.as_ref().map_or("-", |s| s.as_str()));
        match self.ticket.has_ended_as() {
            End::Answered | End::Refused if !self.log_all => {}
            End::Answered | End::Refused => self.log.say(format!("{name}: answered by {status}")),
            End::Gone => self.log.say(format!("{name}: left by its client")),
            End::Cut => self.log.say(format!("{name}: cut")),
        }
    }
}
