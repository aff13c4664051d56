//! A policy that is none, one for another error, one that stays on its thread, and a borrowed one.
use std::rc::Rc;
use umbel_core::{Ended, FailFast, Nursery, Policy, Verdict};

struct Retry;

struct ForNumbers;

impl Policy<u32> for ForNumbers {
    fn failed(&mut self, _: &Ended<'_>, _: &u32) -> Verdict {
        Verdict::Continue
    }
}

struct Counted(Rc<()>);

impl<E> Policy<E> for Counted {
    fn failed(&mut self, _: &Ended<'_>, _: &E) -> Verdict {
        Verdict::Continue
    }
}

pub fn serve() {
    let _ = Nursery::<String>::new().policy(Retry);
    let _ = Nursery::<String>::new().policy(ForNumbers);
    let _ = Nursery::<String>::new().policy(Counted(Rc::new(())));
    let _ = Nursery::<String>::new().policy(&FailFast);
}

fn main() {}
