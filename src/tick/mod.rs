//! One wake, start to end.
