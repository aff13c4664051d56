//! A handle is asked of a nursery that has been given away to run.
use umbel_core::{Failure, Nursery};

pub async fn serve() -> Result<(), Failure<String>> {
    let n = Nursery::new();
    let run = n.run(async { Ok(()) });
    let _ = n.handle().spawn(async { Ok(()) });
    run.await
}

fn main() {}
