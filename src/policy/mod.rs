//! Pure decisions: no I/O and no clock. Everything is an argument, time too.

pub mod hold;
pub mod severity;
