//! x
#![cfg(umbel_step)]
