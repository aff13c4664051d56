//! What is sent back, and that all of it was.

use crate::life::Life;
use crate::stream::{Event, Events};
use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use std::error::Error;
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// What a handler answers.
#[derive(Debug)]
pub(crate) struct Answer {
    status: StatusCode,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// Empty when it was taken.
    Text(Bytes),
    Events(Events),
    /// After the last event.
    Over,
}

impl Answer {
    /// A line.
    pub(crate) fn text(status: StatusCode, line: impl Into<String>) -> Self {
        let content = Content::Text((line.into() + "\n").into());
        Answer { status, content }
    }

    /// Server-sent events, which may go on for long.
    pub(crate) fn events(events: Events) -> Self {
        Answer {
            status: StatusCode::OK,
            content: Content::Events(events),
        }
    }

    /// For the method HEAD.
    pub(crate) fn without_content(mut self) -> Self {
        self.content = Content::Over;
        self
    }

    /// As hyper takes it. It is counted when hyper has all of it; if `is_last`, the client is told that the
    /// connection closes behind it.
    pub(crate) fn send(self, mut life: Life, is_last: bool) -> Response<Sending> {
        life.answer(self.status);
        if matches!(self.content, Content::Over) {
            life.answered();
        }
        let form = match self.content {
            Content::Text(_) | Content::Over => "text/plain; charset=utf-8",
            Content::Events(_) => "text/event-stream",
        };
        let mut response = Response::new(Sending {
            content: self.content,
            life,
        });
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(form));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if is_last {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// The body of an answer that is being sent.
#[derive(Debug)]
pub(crate) struct Sending {
    content: Content,
    life: Life,
}

impl Body for Sending {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = &mut *self;
        let data = match &mut this.content {
            Content::Over => return Poll::Ready(None),
            Content::Text(text) => {
                let text = mem::take(text);
                this.content = Content::Over;
                text
            }
            Content::Events(events) => match ready!(events.poll_next(cx)) {
                Some(Event::Next(text)) => return Poll::Ready(Some(Ok(Frame::data(text)))),
                Some(Event::Last(text)) => {
                    this.content = Content::Over;
                    text
                }
                None => {
                    this.life.cut();
                    return Poll::Ready(Some(Err(Cut)));
                }
            },
        };
        this.life.answered();
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.content, Content::Over)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Text(text) => SizeHint::with_exact(text.len() as u64),
            Content::Events(_) => SizeHint::default(),
            Content::Over => SizeHint::with_exact(0),
        }
    }
}

/// There is no answer, or no more of it: an error to the client, which so does not take a part for the whole.
#[derive(Debug)]
pub(crate) struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer was cut")
    }
}

impl Error for Cut {}
