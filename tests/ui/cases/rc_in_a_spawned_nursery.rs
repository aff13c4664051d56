//! The whole nursery is given to an executor that moves tasks, and its body holds an `Rc`.
use std::rc::Rc;
use umbel_core::Nursery;

async fn pause() {}

pub fn start() {
    tokio::spawn(async {
        let n = Nursery::<String>::new();
        let h = n.handle();
        let run = n.run(async {
            let shared = Rc::new(1);
            pause().await;
            let _ = h.spawn(async { Ok(()) });
            println!("{shared}");
            Ok(())
        });
        run.await
    });
}

fn main() {}
