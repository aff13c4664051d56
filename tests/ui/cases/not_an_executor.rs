//! Something that is no executor, and an executor that takes other futures.
use std::pin::Pin;
use umbel_core::{Spawn, SpawnError};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Boxes;

impl Spawn<Task> for Boxes {
    fn spawn(&self, future: Task) -> Result<(), SpawnError<Task>> {
        Err(SpawnError::new(future))
    }
}

fn start(on: &impl Spawn<Task>) {
    let _ = on.spawn(Box::pin(async {}));
}

fn start_any<F: Future<Output = ()>>(on: &impl Spawn<F>, future: F) {
    let _ = on.spawn(future);
}

pub fn serve() {
    start(&());
    start_any(&(), async {});
    start_any(&Boxes, async {});
}

fn main() {}
