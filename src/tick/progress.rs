//! How far a sweep is, for whoever wants to show it.

/// One step of a sweep.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// So many hosts will be asked.
    Begun {
        /// How many.
        hosts: usize,
    },
    /// A host is being asked.
    Asked {
        /// Its name.
        host: String,
    },
    /// A host answered, or its time was up.
    Answered {
        /// Its name.
        host: String,
        /// Its severity, 0 to 3, and 4 when nothing is known.
        level: u8,
        /// How long it took.
        seconds: f64,
        /// Its one-line verdict.
        verdict: String,
    },
    /// All have answered or were given up.
    Ended,
}
