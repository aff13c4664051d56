//! A child borrows a loop variable that it should own.
use umbel_core::{Failure, Nursery};

pub async fn count(numbers: &[u32]) -> Result<(), Failure<String>> {
    let n = Nursery::new();
    let h = n.handle();
    n.run(async {
        for (index, number) in numbers.iter().enumerate() {
            let _ = h.spawn(async {
                println!("{index}: {number}");
                Ok(())
            });
        }
        Ok(())
    })
    .await
}

fn main() {}
