//! What runs on a host, as pure text in and out.

pub mod check;
mod form;
pub mod guard;
pub mod halt;
pub mod person;
pub mod probe;
pub mod sample;
