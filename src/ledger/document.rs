//! What the document says.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::policy::hold::Hold;

/// The one document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// The version of this form: 1. A document of another version is refused, never rewritten.
    pub v: u32,
    /// The fleet's id, random, made with the document; each host keeps it too.
    pub fleet: String,
    /// Who leads.
    pub lease: Lease,
    /// What is known of each host.
    #[serde(default)]
    pub hosts: BTreeMap<String, HostEntry>,
    /// The manual holds, those that ended too while a host may still show them.
    #[serde(default)]
    pub holds: Vec<Hold>,
}

/// Who leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Rises with each acquisition; hosts obey the highest that they have seen. 1 to 15 digits.
    pub epoch: u64,
    /// The inventory name of who leads.
    pub holder: String,
    /// Random, new with every write: who wrote a document recognises it, whatever became of the answer.
    pub nonce: String,
    /// Rises by one with every write.
    pub seq: u64,
}

/// What is known of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostEntry {
    /// Its id, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// By hold id: it was seen there, and how many times running it has been gone again since.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shown: BTreeMap<String, u32>,
}
