//! A name that borrows.
use umbel_core::Nursery;

pub fn serve(who: &str) {
    let _ = Nursery::<String>::new().name(who);
}

pub fn count(n: u32) {
    let _ = Nursery::<String>::new().name(n);
}

fn main() {}
