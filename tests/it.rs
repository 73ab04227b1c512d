//! Black-box tests of the binary, in one program, since each test program costs 100 MB and a link.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]
#[path = "it/ansible.rs"]
mod ansible;
#[path = "it/hostile_yaml.rs"]
mod hostile_yaml;
