//! What does nothing, or the opposite of what was meant, when it is left lying.
#![deny(unused_must_use)]
use umbel_core::{CancellationToken, Handle, Nursery};

pub async fn serve(token: CancellationToken, h: Handle<'_, String>) {
    Nursery::<String>::new();
    Nursery::<String>::new().run(async { Ok(()) });
    h.spawn(async { Ok(()) });
    h.spawn_wait(async { Ok(()) });
    h.child().name("audit");
    h.map([1, 2], |_| async { Ok(()) });
    h.parallel([async { Ok(()) }]);
    token.cancelled();
    token.child_token();
    token.clone().drop_guard();
    token.on_cancel(|| ());
    token.check();
    token.run_until_cancelled(async {});
}

fn main() {}
