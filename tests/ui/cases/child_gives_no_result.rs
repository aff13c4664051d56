//! A child's output is not a `Result`.
use umbel_core::{Failure, Nursery};

async fn log() {}

pub async fn serve() -> Result<(), Failure<String>> {
    let n = Nursery::new();
    let h = n.handle();
    n.run(async {
        let _ = h.spawn(log());
        let _ = h.spawn(async { println!("started") });
        Ok(())
    })
    .await
}

fn main() {}
