//! The only place that prints: text, tables, progress, JSON.

pub mod diagnostic;
