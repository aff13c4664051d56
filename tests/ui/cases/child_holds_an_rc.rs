//! A child that stays on its thread, in a nursery whose children may cross threads.
use std::rc::Rc;
use umbel_core::{Failure, Nursery};

async fn pause() {}

pub async fn count() -> Result<(), Failure<String>> {
    let n = Nursery::new();
    let h = n.handle();
    n.run(async {
        let _ = h.spawn(async {
            let shared = Rc::new(1);
            pause().await;
            println!("{shared}");
            Ok(())
        });
        Ok(())
    })
    .await
}

fn main() {}
