//! A handle's token is moved out, or its borrow sent away, where a clone was meant.
use umbel_core::{CancellationToken, Nursery};

pub fn owned(n: &Nursery<'_, String>) -> CancellationToken {
    *n.handle().token()
}

pub fn borrowed(n: &Nursery<'_, String>) {
    let h = n.handle();
    let token = h.token();
    tokio::spawn(async move { token.cancelled().await });
}

fn main() {}
