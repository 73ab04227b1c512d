//! Who leads: the lease in the ledger, made or taken before anything is decided.

use jiff::Timestamp;

use crate::error::{Error, Result};
use crate::ledger::{Change, Document, Ledger};
use crate::policy::hold::{BootClock, Hold, expire};

/// How long the record of a lifted hold is kept at least: a host that was off that long shows its line as a stranger's.
const KEEP: jiff::SignedDuration = jiff::SignedDuration::from_hours(30 * 24);

/// What taking the lead gave.
#[derive(Debug)]
pub struct Led {
    /// The document, in which we lead now.
    pub document: Document,
    /// Whose place was taken: another name held the lease before.
    pub before: Option<String>,
    /// The holds whose time was up.
    pub expired: Vec<Hold>,
}

/// Makes `me` the one who leads: makes the document when there is none, raises the epoch when another name held the
/// lease, counts the time of holds and ends those whose time is up.
///
/// # Errors
/// When the ledger cannot be read or written.
pub async fn lead(ledger: &Ledger, me: &str, now: Timestamp, clock: &BootClock) -> Result<Led> {
    let (document, (before, expired)) = ledger
        .change(|old| {
            let mut document = old.map_or_else(|| Document::new(me, 1), |old| Ok(old.clone()))?;
            let before = (document.lease.holder != me).then(|| document.lease.holder.clone());
            if before.is_some() {
                document.acquire(me, 0)?;
            }
            let expired = expire(&mut document.holds, now, clock);
            forget(&mut document, now);
            let said = (before, expired);
            Ok(if old == Some(&document) { Change::Nothing(said) } else { Change::To(document, said) })
        })
        .await?;
    let document = document.ok_or_else(|| Error::failed("the ledger is empty after a write"))?;
    Ok(Led { document, before, expired })
}

/// Forgets lifted holds that no host is known to show.
fn forget(document: &mut Document, now: Timestamp) {
    let shown = |id: &str| {
        let mut keys = document.hosts.values().flat_map(|entry| entry.shown.keys());
        keys.any(|key| key.split(' ').next() == Some(id))
    };
    let keep: Vec<bool> = document
        .holds
        .iter()
        .map(|hold| hold.ended.as_ref().is_none_or(|ended| now.duration_since(ended.at) < KEEP || shown(&hold.id)))
        .collect();
    let mut keep = keep.into_iter();
    document.holds.retain(|_| keep.next().unwrap_or(true));
}

/// This machine's boot and its clock, suspended time included.
pub fn boot_clock() -> BootClock {
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    BootClock { boot_id: boot_id.trim().to_owned(), seconds: time.tv_sec as f64 + time.tv_nsec as f64 / 1e9 }
}
