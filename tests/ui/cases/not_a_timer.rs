//! A duration where a timer is meant.
use std::time::Duration;
use umbel_core::Nursery;

pub fn serve() {
    let _ = Nursery::<String>::new().timer(Duration::from_secs(1));
}

fn main() {}
