//! A child spawns children like itself, and does not say that they are `Send`.
use umbel_core::Handle;

async fn visit(h: Handle<'_, String>, depth: u32) -> Result<(), String> {
    if depth > 0 {
        let _ = h.spawn(visit(h.clone(), depth - 1));
    }
    Ok(())
}

fn main() {
    let _ = visit;
}
