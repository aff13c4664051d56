//! n_27: an interrupt wakes a child of a set before each step of every operation of its owner, and of
//! the next owner of its blocks. The wake is not lost, and calls no allocator. One file, `common.rs`, is
//! compiled once for each kind of set.

mod fixed;
mod growing;
