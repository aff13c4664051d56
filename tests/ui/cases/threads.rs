//! Whichever way a child takes into a nursery whose children may cross threads, it may cross them, and
//! so may its output and its error.
use std::rc::Rc;
use umbel_core::{Handle, JoinError, Nursery};

type Error = Box<dyn std::error::Error + Send + Sync>;

async fn pause() {}

/// A future that may cross threads; its output may not.
fn gives<E>() -> impl Future<Output = Result<Rc<u32>, E>> + Send {
    async { Ok(Rc::new(1)) }
}

async fn holds<E>() -> Result<(), E> {
    let shared = Rc::new(1);
    pause().await;
    Ok(println!("{shared}"))
}

pub fn outputs(h: &Handle<'_, Error>) {
    let _ = h.spawn_graceful(|_| gives());
    let _ = h.try_spawn(gives());
    let _ = h.spawn_wait(gives());
    let _ = h.child().spawn(gives());
    let _ = h.map([1], |_| gives());
    let _ = h.parallel([gives()]);
    let _ = h.scope(|n: Nursery<'_, JoinError>| n.run(gives()));
}

pub fn futures(h: &Handle<'_, Error>) {
    let _ = h.spawn_graceful(|_| holds());
    let _ = h.try_spawn(holds());
    let _ = h.spawn_wait(holds());
    let _ = h.child().spawn(holds());
    let _ = h.map([1], |_| holds());
    let _ = h.parallel([holds()]);
    let _ = h.scope(|n: Nursery<'_, JoinError>| n.run(holds()));
}

pub fn errors() {
    let _ = Nursery::<Rc<()>>::new();
}

fn main() {}
