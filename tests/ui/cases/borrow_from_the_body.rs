//! A child borrows what the body owns: when the body ends, the child may still run.
use umbel_core::{Failure, Nursery};

async fn log(line: &str) -> Result<(), String> {
    println!("{line}");
    Ok(())
}

pub async fn serve() -> Result<(), Failure<String>> {
    let n = Nursery::new();
    let h = n.handle();
    n.run(async {
        let line = String::from("started");
        let _ = h.spawn(log(&line));
        Ok(())
    })
    .await
}

fn main() {}
