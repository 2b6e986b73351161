//! How an answer's body leaves: in small pieces that share the body's bytes, and under a deadline.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::web::Bytes;

use crate::connections::Connection;

/// The most bytes that are handed over at once. The framework copies what it is handed into the connection's buffer,
/// and asks for more once that buffer has less than 32 KiB: so a client that does not read costs this much, however
/// large the answer is.
const PIECE: usize = 16 * 1024;

/// A body whose progress its connection knows: a client that does not take the next piece in time is cut off, and the
/// time in which the next request has to come begins when the last piece is taken.
pub(crate) struct PacedBody {
    inner: BoxBody,
    rest: Bytes,
    connection: Connection,
    is_last: bool,
}

impl PacedBody {
    /// `is_last`: no request is read from the connection after this answer.
    pub(crate) fn new(inner: BoxBody, connection: Connection, is_last: bool) -> Self {
        Self { inner, rest: Bytes::new(), connection, is_last }
    }
}

impl MessageBody for PacedBody {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.inner.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = &mut *self;
        while this.rest.is_empty() {
            // What was handed over before has left, or is about to: the client is not waited for any more.
            this.connection.answering();
            match ready!(Pin::new(&mut this.inner).poll_next(context)) {
                Some(Ok(bytes)) => this.rest = bytes,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    this.connection.end(this.is_last);
                    return Poll::Ready(None);
                }
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE));
        this.connection.sending();
        Poll::Ready(Some(Ok(piece)))
    }
}

/// The body of an answer to HEAD: nothing, of the size that GET's has.
pub(crate) struct HeadBody(pub(crate) BodySize);

impl MessageBody for HeadBody {
    type Error = std::convert::Infallible;

    fn size(&self) -> BodySize {
        self.0
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Poll::Ready(None)
    }
}
