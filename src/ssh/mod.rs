//! The only place that opens sockets to hosts.

pub mod exec;
pub mod local;
