//! `?` on a `Join`, and the nursery's error cannot be made from a `JoinError`.
use umbel_core::{Failure, Nursery};

#[derive(Debug)]
pub struct AppError;

pub async fn serve() -> Result<u32, Failure<AppError>> {
    let n = Nursery::new();
    let h = n.handle();
    n.run(async {
        let answer = h.spawn(async { Ok(42) });
        Ok(answer.await?)
    })
    .await
}

fn main() {}
