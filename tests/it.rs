//! Black-box tests of the binary, in one program, since each test program costs 100 MB and a link.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]
#[path = "lab/mod.rs"]
mod lab;
#[path = "it/lab_local.rs"]
mod lab_local;
#[path = "it/probe.rs"]
mod probe;
#[path = "it/probe_shells.rs"]
mod probe_shells;
