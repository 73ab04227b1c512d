//! What a hold is about: hosts, repo and agent, and how two of these lie to each other.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Some of a kind by name, or `*`: all of it, also what comes later.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Pick {
    /// These.
    Names(BTreeSet<String>),
    /// `*`.
    All(Star),
}

/// The word `*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Star {
    /// `*`.
    #[serde(rename = "*")]
    Star,
}

/// What is held.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Scope {
    /// Host names.
    pub hosts: Pick,
    /// The repo, one name, or all.
    pub repo: Pick,
    /// The agent, one name, or all but those of class supervisor.
    pub agent: Pick,
    /// With every agent, those of class supervisor too: only `--all` does that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub supervisor: bool,
}
