//! `factory` supervises AI coding agents on several machines and repositories.
//!
//! The rooms, from the top: [`cli`] parses a verb and reads like the runbook it replaces; [`tick`] is one wake from
//! start to end; [`ssh`], [`forge`], [`ledger`] and [`journal`] touch the world; [`policy`] and [`remote`] are pure functions;
//! [`inventory`] turns YAML into a typed, checked model; [`error`] and [`exit`] lie under everything.
//! [`render`] stands beside [`cli`] and is the only room that prints.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

pub mod cli;
pub mod error;
pub mod exit;
pub mod forge;
pub mod inventory;
pub mod journal;
pub mod ledger;
pub mod policy;
pub mod remote;
pub mod render;
pub mod ssh;
pub mod tick;
