//! One wake, start to end.

pub mod lock;
mod progress;

pub use progress::Progress;
