//! One file per verb: its arguments, then a short handler.

pub mod global;

use std::ffi::OsString;
use std::process::ExitCode;

/// Parses `args`, runs the verb and says how it ended.
pub fn main(_args: impl IntoIterator<Item = OsString>) -> ExitCode {
    crate::exit::Exit::Ok.into()
}
