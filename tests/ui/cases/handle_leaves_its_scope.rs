//! A handle whose children may borrow goes to a task that may outlive what they borrow.
use umbel_core::{Failure, Nursery};

pub async fn serve(lines: &[String]) -> Result<(), Failure<String>> {
    let n = Nursery::new();
    let h = n.handle();
    let theirs = h.clone();
    tokio::spawn(async move {
        let _ = theirs.spawn(async { Ok(()) });
    });
    n.run(async {
        for line in lines {
            let _ = h.spawn(async move {
                println!("{line}");
                Ok(())
            });
        }
        Ok(())
    })
    .await
}

fn main() {}
