//! As `other_error_type`, but the nursery's error is not named: the child decides what it is.
use std::io;
use umbel_core::{Failure, Nursery};

#[derive(Debug)]
pub struct AppError;

async fn read() -> io::Result<Vec<u8>> {
    Ok(vec![])
}

pub async fn serve() -> Result<(), Failure<AppError>> {
    let n = Nursery::new();
    let h = n.handle();
    n.run(async {
        let _ = h.spawn(read());
        Ok(())
    })
    .await
}

fn main() {}
