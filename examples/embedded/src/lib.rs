//! What the programs share.
//!
//! | file | what it holds |
//! |---|---|
//! | `board` | the timer, chance, the host |
//! | `plant` | an application of four tasks, and what they need of the program that runs them |
#![no_std]

pub mod board;
pub mod plant;
