//! Row 21 for `cancel_children` and `any_of`.
