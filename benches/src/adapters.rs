//! `adapters`: nurseries whose children are tasks of a runtime's executor, beside what the runtime has of its
//! own.

mod contenders;
pub(crate) mod rows;
