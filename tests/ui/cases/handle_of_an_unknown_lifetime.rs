//! A function spawns what it borrows, and does not say that it lives as long as the nursery needs.
use umbel_core::Handle;

pub fn add(h: &Handle<'_, String>, line: &str) {
    let _ = h.spawn(async move {
        println!("{line}");
        Ok(())
    });
}

fn main() {}
