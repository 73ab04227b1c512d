//! How many connections may be in the making: to one sshd, through one jump host, and in all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// sshd's `MaxStartups` begins to turn callers away at its first number; nobody sets it lower than this.
const FEWEST: usize = 2;

/// Bounds how many connections to one place are in the making.
pub(crate) struct Gate {
    permits: Arc<Semaphore>,
    width: Mutex<usize>,
}

impl Gate {
    fn new(width: usize) -> Gate {
        let width = width.max(1);
        Gate { permits: Arc::new(Semaphore::new(width)), width: Mutex::new(width) }
    }

    /// Waits for a place.
    pub(crate) async fn enter(self: &Arc<Gate>) -> Pass {
        // The semaphore is never closed, so this never fails.
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        Pass { permit, gate: Arc::clone(self) }
    }

    #[cfg(test)]
    fn width(&self) -> usize {
        *self.width.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the [`Gate`], given back when this goes.
pub(crate) struct Pass {
    permit: Option<OwnedSemaphorePermit>,
    gate: Arc<Gate>,
}

impl Pass {
    /// The other side turned us away: from now on one fewer at a time, but never fewer than 2.
    pub(crate) fn turned_away(mut self) {
        let mut width = self.gate.width.lock().unwrap_or_else(PoisonError::into_inner);
        if *width > FEWEST
            && let Some(permit) = self.permit.take()
        {
            *width -= 1;
            permit.forget();
        }
    }
}

/// The gates by the name of their place.
pub(crate) struct Gates {
    width: usize,
    gates: Mutex<HashMap<String, Arc<Gate>>>,
}

impl Gates {
    /// Each of this width.
    pub(crate) fn new(width: usize) -> Gates {
        Gates { width, gates: Mutex::default() }
    }

    /// The gate of `place`.
    pub(crate) fn at(&self, place: &str) -> Arc<Gate> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(gates.entry(place.to_owned()).or_insert_with(|| Arc::new(Gate::new(self.width))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_gate_narrows_when_it_is_turned_away_and_never_shuts() {
        let gates = Gates::new(4);
        let gate = gates.at("h:22");
        assert!(Arc::ptr_eq(&gate, &gates.at("h:22")) && !Arc::ptr_eq(&gate, &gates.at("h:23")));
        for left in [3, 2, 2, 2] {
            gate.enter().await.turned_away();
            assert_eq!((gate.width(), gate.permits.available_permits()), (left, left));
        }
        let passes = [gate.enter().await, gate.enter().await];
        assert_eq!(gate.permits.available_permits(), 0);
        drop(passes);
        assert_eq!(gate.permits.available_permits(), 2);
    }
}
