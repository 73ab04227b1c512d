//! What runs on a host, as pure text in and out.

pub mod check;
pub mod crontab;
mod form;
pub mod guard;
pub mod halt;
pub mod logs;
pub mod person;
pub mod probe;
pub mod sample;
