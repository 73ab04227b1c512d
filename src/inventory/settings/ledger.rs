//! Where the shared document lives, and the numbers of the lease on it.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::seconds;
use crate::inventory::de::told;
use crate::inventory::secret::SecretRef;
use crate::inventory::units::Span;
use crate::inventory::url::Url;

/// The store of the ledger: one JSON document with compare-and-swap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename = "kind:ledger", rename_all = "lowercase", deny_unknown_fields)]
#[schemars(rename = "Ledger", tag = "kind")]
pub enum Ledger {
    /// A file in the state directory, for one controller.
    Sqlite {},
    /// A ref on a git server, for several candidates.
    Git {
        /// What `git push` would be given: `https://codeberg.org/me/ledger.git` or `git@codeberg.org:me/ledger.git`.
        #[serde(deserialize_with = "git_url")]
        url: String,
        /// The token for an `https://` url. Default: none.
        token: Option<SecretRef>,
    },
    /// A key in etcd, for several candidates.
    Etcd {
        /// The client addresses of its members.
        #[serde(deserialize_with = "endpoints")]
        #[schemars(length(min = 1))]
        endpoints: Vec<Url>,
        /// The user, where etcd asks for one. Default: none.
        user: Option<String>,
        /// The user's password. Default: none.
        password: Option<SecretRef>,
    },
}

impl Default for Ledger {
    fn default() -> Self {
        Ledger::Sqlite {}
    }
}

fn git_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    // A leading dash would be an option of git's, and `ext::` a command.
    let bad = text.is_empty()
        || text.starts_with('-')
        || text.contains("::")
        || text.chars().any(|c| c.is_whitespace() || c.is_control());
    if bad {
        let help = "write it like `https://codeberg.org/me/ledger.git` or `git@codeberg.org:me/ledger.git`";
        return Err(de::Error::custom(told("not the address of a git repository").help(help)));
    }
    Ok(text)
}

fn endpoints<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Url>, D::Error> {
    let list = Vec::<Url>::deserialize(deserializer)?;
    if list.is_empty() {
        return Err(de::Error::custom(told("names no member").help("write `[http://10.0.0.1:2379]`")));
    }
    Ok(list)
}

/// The numbers of the lease, as written; the defaults depend on the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Lease")]
pub struct LeaseKeys {
    /// The leader renews once the last renewal is this old. Default 40s; 180s with a git ledger.
    pub renew_after: Option<Span>,
    /// Past this without a renewal the leader only tightens. Default 200s; 600s with a git ledger.
    pub renew_deadline: Option<Span>,
    /// A standby that saw no renewal for so long acquires. Default 400s; 1200s with a git ledger.
    pub duration: Option<Span>,
    /// So many good reads without a renewal must have been among them. Default 3.
    pub reads: Option<u32>,
}

/// The numbers of the lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lease {
    /// The leader renews once the last renewal is this old.
    pub renew_after: Span,
    /// Past this without a renewal the leader only tightens.
    pub renew_deadline: Span,
    /// A standby that saw no renewal for so long acquires.
    pub duration: Span,
    /// So many good reads without a renewal must have been among them.
    pub reads: u32,
}

impl Lease {
    /// The lease that `keys` describe on `ledger`.
    pub fn new(keys: &LeaseKeys, ledger: &Ledger) -> Lease {
        let (after, deadline, duration) = match ledger {
            Ledger::Git { .. } => (180, 600, 1200),
            Ledger::Sqlite {} | Ledger::Etcd { .. } => (40, 200, 400),
        };
        Lease {
            renew_after: keys.renew_after.unwrap_or(seconds(after)),
            renew_deadline: keys.renew_deadline.unwrap_or(seconds(deadline)),
            duration: keys.duration.unwrap_or(seconds(duration)),
            reads: keys.reads.unwrap_or(3),
        }
    }
}
