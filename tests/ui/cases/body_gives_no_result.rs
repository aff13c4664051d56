//! The body's output is not a `Result`.
use umbel_core::Nursery;

pub async fn serve() {
    let n = Nursery::<String>::new();
    let h = n.handle();
    let _ = n.run(async { h.cancel() }).await;
}

fn main() {}
