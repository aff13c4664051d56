//! A scope, and the outer nursery's error cannot be made from the inner one's failure.
use umbel_core::{Failure, JoinError, Nursery};

#[derive(Debug)]
pub struct AppError;

pub async fn serve() -> Result<(), Failure<AppError>> {
    let n = Nursery::new();
    let h = n.handle();
    n.run(async {
        let _ = h.scope(|inner: Nursery<'_, JoinError>| inner.run(async { Ok(()) }));
        Ok(())
    })
    .await
}

fn main() {}
