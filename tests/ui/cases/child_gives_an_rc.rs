//! A child whose output stays on its thread.
use std::rc::Rc;
use umbel_core::{Failure, Nursery};

pub async fn count() -> Result<u32, Failure<umbel_core::JoinError>> {
    let n = Nursery::new();
    let h = n.handle();
    n.run(async { Ok(*h.spawn(async { Ok(Rc::new(1)) }).await?) }).await
}

fn main() {}
