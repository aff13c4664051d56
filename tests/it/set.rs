//! The sets. What both must do is one file, `common.rs`, compiled once for each.

mod fixed;
mod growing;
