//! A few MiB of the state directory's disk that are kept for the day when it is full: what has to be written down then,
//! that something is held say, has room once they are let go of.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::inventory::units::Bytes;
use crate::journal::Event;
use jiff::Timestamp;
use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// How much is kept.
const KEPT: u64 = 8 << 20;

/// Below so much the disk is full: neither store can be sure of a write.
const FULL: u64 = 256 << 10;

/// The reserve of a state directory.
pub struct Reserve {
    path: PathBuf,
}

impl Reserve {
    /// The reserve in `state`; it is not made yet.
    pub fn of(state: &Path) -> Reserve {
        Reserve { path: state.join("reserve") }
    }

    /// Makes it, where there is room for it and as much again.
    pub fn keep(&self) {
        let whole = std::fs::metadata(&self.path).is_ok_and(|meta| meta.len() == KEPT);
        if whole || self.room().is_none_or(|room| room < 2 * KEPT) {
            return;
        }
        let make = || -> std::io::Result<()> {
            let file: File = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)?;
            Ok(fallocate(&file, FallocateFlags::empty(), 0, KEPT)?)
        };
        if make().is_err() {
            // Part of it is of no use, and a file system that cannot do so has none.
            let _ = std::fs::remove_file(&self.path);
        }
    }

    /// Lets go of it if the disk is full. Gives whether there is more room now, so that what failed may be tried again.
    pub fn free(&self) -> bool {
        self.room().is_some_and(|room| room < FULL) && std::fs::remove_file(&self.path).is_ok()
    }

    /// That it was let go of, for the record.
    pub fn event(&self) -> Event {
        let dir = self.path.parent().unwrap_or(&self.path).display();
        let message = format!(
            "the disk of {dir} is full: the {} that were kept there for this are let go of; make room, or nothing more is recorded and nothing is released",
            Bytes(KEPT)
        );
        Event { at: Timestamp::now(), host: None, what: "disk".to_owned(), severity: 3, message }
    }

    /// Bytes that this user can still write there.
    fn room(&self) -> Option<u64> {
        let disk = statvfs(self.path.parent()?).ok()?;
        let blocks = if rustix::process::geteuid().is_root() { disk.f_bfree } else { disk.f_bavail };
        Some(blocks.saturating_mul(disk.f_frsize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_kept_while_there_is_room_and_stays_while_the_disk_is_not_full() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = Reserve::of(dir.path());
        reserve.keep();
        reserve.keep();
        let meta = std::fs::metadata(&reserve.path).unwrap();
        use std::os::unix::fs::MetadataExt;
        assert!(meta.len() == KEPT && meta.blocks() * 512 >= KEPT, "{meta:?}");
        assert!(!reserve.free() && reserve.path.exists());
    }
}
