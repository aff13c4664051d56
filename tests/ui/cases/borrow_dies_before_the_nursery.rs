//! A child borrows what dies before the nursery.
use umbel_core::{Failure, Nursery};

async fn log(line: &str) -> Result<(), String> {
    println!("{line}");
    Ok(())
}

pub async fn serve(requests: Vec<u32>) -> Result<(), Failure<String>> {
    let n = Nursery::new();
    let h = n.handle();
    for request in requests {
        let line = format!("request {request}");
        let _ = h.spawn(log(&line));
    }
    n.run(async { Ok(()) }).await
}

fn main() {}
