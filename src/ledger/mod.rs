//! The ledger: one small document that all candidates share, changed by compare-and-swap alone.

mod document;

pub use document::{Document, HostEntry, Lease};
