//! What is written by hand where there is no nursery: all tasks in one future, each polled whoever was
//! woken.

use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::Poll;
use umbel_firmware::plant::Fault;

type Task<'a> = Pin<&'a mut dyn Future<Output = Result<(), Fault>>>;

/// Polls all, until one fails.
pub(crate) async fn all(mut tasks: [Task<'_>; 4]) -> Fault {
    poll_fn(|cx| {
        for task in &mut tasks {
            if let Poll::Ready(Err(fault)) = task.as_mut().poll(cx) {
                return Poll::Ready(fault);
            }
        }
        Poll::Pending
    })
    .await
}
