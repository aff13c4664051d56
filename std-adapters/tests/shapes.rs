//! Shapes in which a program meets nurseries: each test is one that compiles, and runs. Those that do not
//! compile are in `tests/ui/cases`; `docs/shapes.md` tells of both.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Duration;

use smol::future::yield_now;
use smol::stream::StreamExt;
use umbel::{
    CancelSignal, CancellationToken, Cancelled, Clock, DynCancelSignal, Ended, Failure,
    FixedNursery, FutureExt, Handle, Join, JoinError, LocalNursery, ManualClock, Nursery, Policy,
    Verdict, WakePool,
};

/// One error type for a program's nurseries: made of what `?` meets in them.
#[derive(Debug)]
enum Error {
    Nobody,
    /// A child that was awaited had no output.
    Child(#[allow(dead_code, reason = "read by `Debug`")] JoinError),
    /// A nursery within failed.
    Within(#[allow(dead_code, reason = "read by `Debug`")] Box<Failure<Error>>),
}

impl From<JoinError> for Error {
    fn from(error: JoinError) -> Self {
        Error::Child(error)
    }
}

impl From<Failure<Error>> for Error {
    fn from(failure: Failure<Error>) -> Self {
        Error::Within(Box::new(failure))
    }
}

type Task<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;
type Outcome<T> = Result<T, Failure<Error>>;

/// Runs a future as a task of tokio, which may move it between threads.
fn in_a_task<T: Send + 'static>(task: impl Future<Output = Outcome<T>> + Send + 'static) -> T {
    let tokio = tokio::runtime::Builder::new_current_thread().build();
    let task = tokio.unwrap().block_on(async { tokio::spawn(task).await });
    task.unwrap().unwrap()
}

async fn double(n: &u32) -> Result<u32, Error> {
    yield_now().await;
    Ok(n * 2)
}

#[test]
fn children_borrow_the_locals_of_a_task() {
    let sum = in_a_task(async {
        let (a, b) = (20, 1);
        let n = Nursery::<Error>::new();
        let h = n.handle();
        n.run(async {
            let (a, b) = (h.spawn(double(&a)), h.spawn(double(&b)));
            Ok(a.await? + b.await?)
        })
        .await
    });
    assert_eq!(sum, 42);
}

#[test]
fn on_an_executor_of_threads() {
    let task = smol::spawn(async {
        let words = [String::from("a"), String::from("bc")];
        let n = Nursery::<Error>::new();
        let h = n.handle();
        n.run(async {
            let lengths = words.iter().map(|word| async move { Ok(word.len()) });
            Ok(h.parallel(lengths).await?.iter().sum::<usize>())
        })
        .await
    });
    assert_eq!(smol::block_on(task).unwrap(), 3);
}

#[test]
fn what_is_made_after_the_nursery_and_outlives_its_run_is_lent_too() {
    let sum = in_a_task(async {
        let n = Nursery::<Error>::new();
        let h = n.handle();
        let (a, b) = (20, 1);
        let run = n.run(async { Ok(h.spawn(double(&a)).await? + h.spawn(double(&b)).await?) });
        run.await
    });
    assert_eq!(sum, 42);
}

#[test]
fn what_the_body_makes_is_moved_into_children() {
    let sum = in_a_task(async {
        let n = Nursery::<Error>::new();
        let h = n.handle();
        n.run(async {
            let joins: Vec<Join<u32>> = (1..=3)
                .map(|n| h.spawn(async move { double(&n).await }))
                .collect();
            let mut sum = 0;
            for join in joins {
                sum += join.await?;
            }
            Ok(sum)
        })
        .await
    });
    assert_eq!(sum, 12);
}

#[test]
fn what_the_body_makes_is_lent_by_a_nursery_of_its_own() {
    let sum = in_a_task(async {
        let n = Nursery::<Error>::new();
        let h = n.handle();
        n.run(async {
            let made: Vec<u32> = h.spawn(async { Ok(vec![1, 2, 3]) }).await?;
            let inner = Nursery::<Error>::new().token(h.token());
            let h = inner.handle();
            let sum = inner.run(async { Ok(h.parallel(made.iter().map(double)).await?) });
            Ok(sum.await?.iter().sum::<u32>())
        })
        .await
    });
    assert_eq!(sum, 12);
}

#[test]
fn children_write_to_parts_of_what_is_lent() {
    let squares = in_a_task(async {
        let mut numbers = vec![1, 2, 3];
        let n = Nursery::<Error>::new();
        let h = n.handle();
        n.run(async {
            for number in &mut numbers {
                drop(h.spawn(async move {
                    yield_now().await;
                    *number *= *number;
                    Ok(())
                }));
            }
            Ok(())
        })
        .await?;
        Ok(numbers)
    });
    assert_eq!(squares, [1, 4, 9]);
}

#[test]
fn children_give_what_they_borrow() {
    let longest = in_a_task(async {
        let words = [String::from("a"), String::from("bcd"), String::from("ef")];
        let n = Nursery::<Error>::new();
        let h = n.handle();
        let longest: &String = n
            .run(async {
                let words = words.iter().map(|word| async move { Ok(word) });
                let words = h.parallel(words).await?;
                Ok(words.into_iter().max_by_key(|word| word.len()).unwrap())
            })
            .await?;
        Ok(longest.clone())
    });
    assert_eq!(longest, "bcd");
}

#[test]
fn children_borrow_the_handle_and_spawn_siblings() {
    let seen = in_a_task(async {
        let seen = Mutex::new(Vec::new());
        let n = Nursery::<Error>::new();
        let h = n.handle();
        n.run(async {
            drop(h.spawn(async {
                seen.lock().unwrap().push("child");
                drop(h.spawn(async {
                    seen.lock().unwrap().push("sibling");
                    Ok(())
                }));
                Ok(())
            }));
            Ok(())
        })
        .await?;
        Ok(seen.into_inner().unwrap())
    });
    assert_eq!(seen, ["child", "sibling"]);
}

#[test]
fn children_own_a_handle() {
    let (send, receive) = std::sync::mpsc::channel();
    in_a_task(async move {
        let n = Nursery::<Error>::new();
        let h = n.handle();
        // On any thread, and as long as it likes: it does not keep the nursery open.
        let theirs = h.clone();
        let thread = std::thread::spawn(move || {
            drop(theirs.spawn(async move {
                send.send("spawned").unwrap();
                Ok(())
            }));
        });
        n.run(async {
            thread.join().unwrap();
            Ok(())
        })
        .await
    });
    assert_eq!(receive.recv(), Ok("spawned"));
}

/// Lives as long as the nursery needs: `'env`.
async fn spawn_all<'env>(h: &Handle<'env, Error>, numbers: &'env [u32]) -> Result<u32, JoinError> {
    let doubled = h.parallel(numbers.iter().map(double)).await?;
    Ok(doubled.iter().sum())
}

#[test]
fn a_function_is_given_a_handle_and_what_its_children_borrow() {
    let sum = in_a_task(async {
        let numbers = [1, 2, 3];
        let n = Nursery::<Error>::new();
        let h = n.handle();
        n.run(async { Ok(spawn_all(&h, &numbers).await?) }).await
    });
    assert_eq!(sum, 12);
}

struct Tree {
    value: u32,
    branches: Vec<Tree>,
}

#[expect(
    clippy::manual_async_fn,
    reason = "inside of itself the compiler cannot find out that it is `Send`"
)]
fn visit<'env>(
    h: Handle<'env, Error>,
    tree: &'env Tree,
    sum: &'env Mutex<u32>,
) -> impl Future<Output = Result<(), Error>> + Send + 'env {
    async move {
        *sum.lock().unwrap() += tree.value;
        for branch in &tree.branches {
            drop(h.spawn(visit(h.clone(), branch, sum)));
        }
        Ok(())
    }
}

#[test]
fn a_child_spawns_children_like_itself() {
    let sum = in_a_task(async {
        let leaf = |value| Tree {
            value,
            branches: Vec::new(),
        };
        let tree = Tree {
            value: 1,
            branches: vec![
                leaf(2),
                Tree {
                    value: 3,
                    branches: vec![leaf(4)],
                },
            ],
        };
        let sum = Mutex::new(0);
        let n = Nursery::<Error>::new();
        let h = n.handle();
        n.run(visit(h, &tree, &sum)).await?;
        Ok(sum.into_inner().unwrap())
    });
    assert_eq!(sum, 10);
}

struct Server {
    names: BTreeMap<u32, String>,
}

impl Server {
    async fn name(&self, id: u32) -> Result<&str, Error> {
        yield_now().await;
        Ok(self.names.get(&id).ok_or(Error::Nobody)?)
    }

    async fn names(&self, ids: &[u32]) -> Outcome<Vec<&str>> {
        let n = Nursery::<Error>::new();
        let h = n.handle();
        n.run(async { Ok(h.parallel(ids.iter().map(|id| self.name(*id))).await?) })
            .await
    }
}

#[test]
fn a_method_lends_itself_to_children() {
    let names = in_a_task(async {
        let names = BTreeMap::from([(1, String::from("ann")), (2, String::from("bob"))]);
        let server = Server { names };
        Ok(server.names(&[2, 1]).await?.join(" "))
    });
    assert_eq!(names, "bob ann");
}

#[test]
fn map_takes_what_is_lent() {
    let doubled = in_a_task(async {
        let numbers = [1, 2, 3];
        let n = Nursery::<Error>::new().limit(2);
        let h = n.handle();
        n.run(async {
            let mut outputs = h.map(&numbers, |number| async move {
                yield_now().await;
                Ok(number * 2)
            });
            let mut doubled = Vec::new();
            while let Some(output) = outputs.next().await {
                doubled.push(output?);
            }
            Ok(doubled)
        })
        .await
    });
    assert_eq!(doubled, [2, 4, 6]);
}

#[test]
fn map_takes_an_async_closure() {
    let doubled = in_a_task(async {
        let (numbers, factor) = ([1, 2, 3], 2);
        let n = Nursery::<Error>::new();
        let h = n.handle();
        n.run(async {
            let double = async |number: &u32| {
                yield_now().await;
                Ok(number * factor)
            };
            let mut outputs = h.map_unordered(&numbers, double);
            let mut doubled = Vec::new();
            while let Some(output) = outputs.next().await {
                doubled.push(output?);
            }
            doubled.sort_unstable();
            Ok(doubled)
        })
        .await
    });
    assert_eq!(doubled, [2, 4, 6]);
}

#[test]
fn a_graceful_child_is_an_async_closure() {
    let told = in_a_task(async {
        let told = Mutex::new(false);
        let n = Nursery::<Error>::new();
        let h = n.handle();
        let run = n.run(async {
            drop(h.spawn_graceful(async |cx| {
                cx.token().cancelled().await;
                *told.lock().unwrap() = true;
                Ok(())
            }));
            drop(h.spawn(async { Err::<(), _>(Error::Nobody) }));
            Ok(())
        });
        assert!(run.await.is_err());
        Ok(told.into_inner().unwrap())
    });
    assert!(told);
}

#[test]
fn scopes_nest_and_all_lend_the_same_locals() {
    let sum = in_a_task(async {
        let numbers = [1, 2, 3];
        let n = Nursery::<Error>::new();
        let h = n.handle();
        n.run(async {
            let outer = h.scope(|n: Nursery<'_, Error>| {
                let h = n.handle();
                let numbers = &numbers;
                n.run(async move {
                    let inner = h.scope(|n: Nursery<'_, Error>| {
                        let n = n.limit(1);
                        let h = n.handle();
                        n.run(async move { Ok(h.parallel(numbers.iter().map(double)).await?) })
                    });
                    Ok(inner.await?.iter().sum::<u32>())
                })
            });
            Ok(outer.await?)
        })
        .await
    });
    assert_eq!(sum, 12);
}

#[test]
fn a_child_has_a_nursery_that_lends_the_childs_locals() {
    let sum = in_a_task(async {
        let n = Nursery::<Error>::new();
        let h = n.handle();
        n.run(async {
            let token = h.token().clone();
            let child = h.spawn_graceful(|_| async move {
                let numbers = vec![1, 2, 3];
                let n = Nursery::<Error>::new().token(&token);
                let h = n.handle();
                let sums = n.run(async { Ok(spawn_all(&h, &numbers).await?) });
                Ok(sums.await?)
            });
            Ok(child.await?)
        })
        .await
    });
    assert_eq!(sum, 12);
}

#[test]
fn children_of_different_types_are_kept_as_one() {
    let sum = in_a_task(async {
        let (a, b) = (20, 1);
        let n = Nursery::<Error>::new();
        let h = n.handle();
        n.run(async {
            let tasks: [Task<'_, u32>; 2] = [Box::pin(double(&a)), Box::pin(async { Ok(b + 1) })];
            Ok(h.series(tasks).await?.iter().sum::<u32>())
        })
        .await
    });
    assert_eq!(sum, 42);
}

async fn fetch(stop: &impl CancelSignal) -> Result<u32, Cancelled> {
    double(&21).or_cancelled(stop).await.map(Result::unwrap)
}

async fn fetch_dyn(stop: &(dyn DynCancelSignal + Send + Sync)) -> Result<u32, Cancelled> {
    double(&21).or_cancelled(stop).await.map(Result::unwrap)
}

#[test]
fn signals_are_lent() {
    let sum = in_a_task(async {
        let token = CancellationToken::new();
        let boxed: Box<dyn DynCancelSignal + Send + Sync> = Box::new(token.clone());
        let n = Nursery::<Error>::new().token(&token);
        let h = n.handle();
        n.run(async {
            let by_token = h.spawn(async { Ok(fetch(&token).await) });
            let by_reference = h.spawn(async { Ok(fetch(&token).await) });
            let by_box = h.spawn(async { Ok(fetch_dyn(&*boxed).await) });
            let fetched = [by_token.await?, by_reference.await?, by_box.await?];
            Ok(fetched.into_iter().map(Result::unwrap).sum::<u32>())
        })
        .await
    });
    assert_eq!(sum, 126);
}

#[test]
fn timers_and_policies_are_lent() {
    struct Forgiving<'a>(&'a Mutex<u32>);

    impl<E> Policy<E> for Forgiving<'_> {
        fn failed(&mut self, _: &Ended<'_>, _: &E) -> Verdict {
            *self.0.lock().unwrap() += 1;
            Verdict::Forgive
        }
    }

    let forgiven = in_a_task(async {
        let (clock, forgiven) = (ManualClock::new(), Mutex::new(0));
        let n = Nursery::<Error>::new()
            .timer(&clock)
            .deadline(clock.now() + Duration::from_secs(1))
            .policy(Forgiving(&forgiven));
        let h = n.handle();
        n.run(async {
            drop(h.spawn(async { Err::<(), _>(Error::Nobody) }));
            Ok(())
        })
        .await?;
        Ok(forgiven.into_inner().unwrap())
    });
    assert_eq!(forgiven, 1);
}

/// Lends what it is given, and says so in its type.
fn total<'a>(numbers: &'a [u32]) -> impl Future<Output = Outcome<u32>> + Send + 'a {
    let n = Nursery::<Error>::new();
    let h = n.handle();
    n.run(async move { Ok(spawn_all(&h, numbers).await?) })
}

#[test]
fn a_nursery_at_work_is_given_back_by_a_function() {
    assert_eq!(in_a_task(async { total(&[1, 2, 3]).await }), 12);
}

/// Children that stay on their thread and share without locks.
async fn count(to: u32) -> Outcome<u32> {
    let (count, last) = (Cell::new(0), Rc::new(RefCell::new(None)));
    let n = LocalNursery::<Error>::new();
    let h = n.handle();
    n.run(async {
        for n in 1..=to {
            let last = Rc::clone(&last);
            let count = &count;
            drop(h.spawn(async move {
                yield_now().await;
                count.set(count.get() + n);
                last.replace(Some(n));
                Ok(())
            }));
        }
        Ok(())
    })
    .await?;
    assert_eq!(*last.borrow(), Some(to));
    Ok(count.get())
}

#[test]
fn a_local_nursery_in_spawn_local_of_tokio() {
    let tokio = tokio::runtime::Builder::new_current_thread().build();
    let task = tokio::task::LocalSet::new().block_on(&tokio.unwrap(), async {
        tokio::task::spawn_local(count(3)).await
    });
    assert_eq!(task.unwrap().unwrap(), 6);
}

#[test]
fn a_local_nursery_on_a_local_executor_of_smol() {
    let executor = smol::LocalExecutor::new();
    let task = executor.spawn(count(3));
    assert_eq!(smol::block_on(executor.run(task)).unwrap(), 6);
}

#[test]
fn a_local_nursery_in_a_child_of_a_local_nursery() {
    let sum = smol::block_on(async {
        let n = LocalNursery::<Error>::new();
        let h = n.handle();
        n.run(async {
            Ok(
                h.parallel([count(3), count(4)].map(|c| async { Ok(c.await?) }))
                    .await?,
            )
        })
        .await
    });
    assert_eq!(sum.unwrap(), [6, 10]);
}

#[test]
fn a_fixed_nursery_lends_locals_and_itself() {
    static POOL: WakePool<2> = WakePool::new();
    let seen = Cell::new(0);
    let n = FixedNursery::<(), 2>::new(&POOL).unwrap();
    let run = n.run(async {
        let child = n.try_spawn(async {
            let sibling = n.try_spawn(async {
                seen.set(seen.get() + 1);
                Ok(())
            });
            assert!(sibling.is_ok());
            seen.set(seen.get() + 1);
            Ok(())
        });
        assert!(child.is_ok());
        Ok(())
    });
    assert_eq!(smol::block_on(run), Ok(()));
    assert_eq!(seen.get(), 2);
}
