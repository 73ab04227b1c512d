//! One wake, start to end.

pub mod lock;
