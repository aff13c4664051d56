//! Whatever is kept of a nursery, nothing of it outlives what its children borrow.
use std::cell::Cell;
use std::future::Ready;
use umbel_core::{
    FixedNursery, FixedSet, Handle, LocalHandle, LocalNursery, Nursery, StaticToken, WakePool,
};

pub fn a_handle_does_not_shrink<'a, 'b: 'a>(h: Handle<'b, ()>) -> Handle<'a, ()> {
    h
}

pub fn a_handle_does_not_grow<'a, 'b: 'a>(h: Handle<'a, ()>) -> Handle<'b, ()> {
    h
}

pub fn a_local_handle_does_not_shrink<'a, 'b: 'a>(h: LocalHandle<'b, ()>) -> LocalHandle<'a, ()> {
    h
}

pub fn a_local_handle_does_not_grow<'a, 'b: 'a>(h: LocalHandle<'a, ()>) -> LocalHandle<'b, ()> {
    h
}

pub fn a_child_outlives_nothing_that_it_borrows() {
    let n = Nursery::<()>::new();
    let h = n.handle();
    let run = n.run(async { Ok(()) });
    {
        let kept = 1;
        let _ = h.spawn(async { Ok(assert_eq!(*&kept, 1)) });
    }
    let _ = run;
}

pub fn nor_does_a_local_child() {
    let n = LocalNursery::<()>::new();
    let h = n.handle();
    let run = n.run(async { Ok(()) });
    {
        let kept = Cell::new(1);
        let _ = h.spawn(async { Ok(kept.set(2)) });
    }
    let _ = run;
}

pub fn a_wait_for_room_holds_the_child() {
    let wait;
    {
        let kept = 1;
        let n = Nursery::<()>::new();
        wait = n.handle().spawn_wait(async { Ok(assert_eq!(*&kept, 1)) });
    }
    let _ = wait;
}

pub fn so_does_a_local_one() {
    let wait;
    {
        let kept = Cell::new(1);
        let n = LocalNursery::<()>::new();
        wait = n.handle().spawn_wait(async { Ok(kept.set(2)) });
    }
    let _ = wait;
}

pub fn a_join_holds_the_output() {
    let join;
    {
        let kept = 1;
        let n = Nursery::<()>::new();
        join = n.handle().spawn(async { Ok(&kept) });
    }
    let _ = join;
}

pub fn a_child_of_a_static_token_needs_one_that_is_never_gone() {
    let token = StaticToken::<1>::new();
    let _ = token.child();
}

static TOKEN: StaticToken<1> = StaticToken::new();

pub fn its_waits_borrow_it() {
    let child = TOKEN.child().unwrap();
    let wait = child.cancelled();
    drop(child);
    let _ = wait;
}

static POOL: WakePool<2> = WakePool::new();

pub fn a_fixed_nurserys_pool_is_never_gone() {
    let pool = WakePool::<2>::new();
    let _ = FixedNursery::<(), 2>::new(&pool);
}

pub fn nor_is_a_fixed_sets() {
    let pool = WakePool::<2>::new();
    let _ = FixedSet::<Ready<()>, 2>::new(&pool);
}

pub fn a_fixed_nurserys_child_borrows_nothing_of_the_body() {
    let n = FixedNursery::<(), 2>::new(&POOL).unwrap();
    let _ = n.run(async {
        let kept = 1;
        let borrowed = &kept;
        let _ = n.try_spawn(async move { Ok(assert_eq!(*borrowed, 1)) });
        Ok(())
    });
}

pub fn nor_what_is_gone_before_the_nursery() {
    let n = FixedNursery::<(), 2>::new(&POOL).unwrap();
    {
        let kept = 1;
        let _ = n.run(async {
            let _ = n.try_spawn(async { Ok(assert_eq!(*&kept, 1)) });
            Ok(())
        });
    }
    let _ = n;
}

fn main() {}
