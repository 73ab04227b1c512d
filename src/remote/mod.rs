//! What runs on a host, as pure text in and out.

pub mod check;
pub mod probe;
pub mod sample;
