//! The program with a token that has room for four.
#![no_std]
#![no_main]

#[macro_use]
mod program;

with_token!(4, program::run);
