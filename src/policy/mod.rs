//! Pure decisions: no I/O and no clock. Everything is an argument, time too.

pub mod ci_load;
pub mod claim;
pub mod hold;
pub mod ladder;
pub mod practices;
pub mod queue;
pub mod replay;
pub mod repo;
pub mod room;
pub mod roster;
pub mod severity;
pub mod takeover;
pub mod victim;
