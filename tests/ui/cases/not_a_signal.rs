//! A flag where a signal is meant, and a signal by value.
use std::sync::atomic::AtomicBool;
use umbel_core::{CancellationToken, FutureExt};

pub async fn serve(stop: AtomicBool, token: CancellationToken) {
    let _ = async {}.or_cancelled(&stop).await;
    let _ = async {}.or_cancelled(token).await;
}

fn main() {}
