//! Tasks of the event loop.

use std::future::Future;

use umbel_core::{Spawn, SpawnError};

/// The event loop of this thread: [`Spawn`] by `spawn_local` of wasm-bindgen-futures, for futures that need
/// not be `Send`.
///
/// The task is polled for the first time in the next microtask, never within `spawn`. It is detached: it
/// runs to its end whoever keeps what. It never refuses a future. Each spawn allocates the task. A
/// panic ends the module, where panics abort (as they do on this target by default).
///
/// ```no_run
/// use umbel::wasm::WasmSpawn;
/// use umbel::{JoinError, LocalNursery, Spawn};
///
/// let n = LocalNursery::<JoinError>::new();
/// let h = n.handle();
/// WasmSpawn
///     .spawn(async move {
///         let sum = n.run(async {
///             let (a, b) = (h.spawn(async { Ok(20) }), h.spawn(async { Ok(22) }));
///             Ok(a.await? + b.await?)
///         });
///         assert_eq!(sum.await.unwrap(), 42);
///     })
///     .unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct WasmSpawn;

impl<F> Spawn<F> for WasmSpawn
where
    F: Future<Output = ()> + 'static,
{
    fn spawn(&self, future: F) -> Result<(), SpawnError<F>> {
        wasm_bindgen_futures::spawn_local(future);
        Ok(())
    }
}
