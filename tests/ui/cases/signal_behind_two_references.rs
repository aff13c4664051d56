//! A generic function is given a reference to a reference to a signal, in a task that may move.
use umbel_core::{CancelSignal, Cancelled, CancellationToken, FutureExt};

async fn fetch(stop: &impl CancelSignal) -> Result<u32, Cancelled> {
    async { 7 }.or_cancelled(stop).await
}

pub fn start(token: CancellationToken) {
    tokio::spawn(async move {
        let token = &token;
        fetch(&token).await
    });
}

fn main() {}
