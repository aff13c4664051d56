//! Nothing says what the nursery's error is.
use umbel_core::Nursery;

pub async fn serve() {
    let n = Nursery::new();
    let h = n.handle();
    let done = n.run(async {
        let _ = h.spawn(async { Ok(()) });
        Ok(())
    });
    assert!(done.await.is_ok());
}

fn main() {}
