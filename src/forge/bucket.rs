//! How many calls a server gets: a token bucket, one per forge, shared by all repos on it.

use std::time::Duration;

/// A token bucket. Time is an argument: seconds of a clock that does not go back.
///
/// Calls that find it empty are let through one after the other, in the order in which they asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Bucket {
    /// Calls a second.
    rate: f64,
    /// The calls that may follow each other at once.
    burst: f64,
    /// What is left; below 0 for calls that were let in and wait.
    left: f64,
    /// When `left` was true.
    at: f64,
}

/// No call may be made now, nor within the time that it would wait: when one may, in seconds from now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Empty(pub f64);

impl Bucket {
    /// A full bucket of `burst` calls, filled with `rate` calls a second.
    pub fn new(rate: f64, burst: f64) -> Bucket {
        let burst = burst.max(1.0);
        Bucket { rate: rate.max(0.001), burst, left: burst, at: 0.0 }
    }

    /// Takes one call at `now`: how long to wait before making it, at most `patience`.
    ///
    /// # Errors
    /// It would have to wait longer than that; nothing was taken.
    pub fn take(&mut self, now: f64, patience: Duration) -> Result<Duration, Empty> {
        self.left = (self.left + (now - self.at).max(0.0) * self.rate).min(self.burst);
        self.at = self.at.max(now);
        let wait = ((1.0 - self.left) / self.rate).max(0.0);
        if wait > patience.as_secs_f64() {
            return Err(Empty(wait));
        }
        self.left -= 1.0;
        Ok(Duration::from_secs_f64(wait))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn a_burst_is_free_and_then_they_come_at_the_rate() {
        let mut bucket = Bucket::new(2.0, 3.0);
        let waits: Vec<f64> = (0..6).map(|_| bucket.take(100.0, LONG).unwrap().as_secs_f64()).collect();
        assert_eq!(waits, [0.0, 0.0, 0.0, 0.5, 1.0, 1.5]);
        // All of them were made by then, and one more has flowed in.
        assert_eq!(bucket.take(102.0, LONG), Ok(Duration::ZERO));
        // It never holds more than a burst.
        let waits: Vec<f64> = (0..4).map(|_| bucket.take(9000.0, LONG).unwrap().as_secs_f64()).collect();
        assert_eq!(waits, [0.0, 0.0, 0.0, 0.5]);
    }

    #[test]
    fn who_would_wait_too_long_takes_nothing() {
        let mut bucket = Bucket::new(1.0, 1.0);
        assert_eq!(bucket.take(10.0, Duration::ZERO), Ok(Duration::ZERO));
        for _ in 0..5 {
            assert_eq!(bucket.take(10.0, Duration::from_millis(900)), Err(Empty(1.0)));
        }
        assert_eq!(bucket.take(11.0, Duration::ZERO), Ok(Duration::ZERO));
        // A clock that goes back gives nothing away.
        assert_eq!(bucket.take(5.0, Duration::ZERO), Err(Empty(1.0)));
    }
}
