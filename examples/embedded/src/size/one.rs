//! The program with a token that has room for one.
#![no_std]
#![no_main]

#[macro_use]
mod program;

with_token!(1, program::run);
