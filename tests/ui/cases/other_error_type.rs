//! A child fails with another error than the nursery's.
use std::io;
use umbel_core::Nursery;

#[derive(Debug)]
pub struct AppError;

async fn read() -> io::Result<Vec<u8>> {
    Ok(vec![])
}

pub async fn serve() {
    let n = Nursery::<AppError>::new();
    let h = n.handle();
    let run = n.run(async {
        let _ = h.spawn(read());
        Ok(())
    });
    let _ = run.await;
}

fn main() {}
