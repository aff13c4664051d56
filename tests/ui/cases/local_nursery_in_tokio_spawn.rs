//! A local nursery is given to an executor that moves tasks.
use umbel_core::LocalNursery;

pub fn start() {
    tokio::spawn(async {
        let n = LocalNursery::<String>::new();
        let h = n.handle();
        n.run(async move {
            let _ = h.spawn(async { Ok(()) });
            Ok(())
        })
        .await
    });
}

fn main() {}
