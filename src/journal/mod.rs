//! Local history in SQLite: what `status` and `events` read.
