//! How long a refused login is left alone: programs such as fail2ban count attempts and shut the door.

use std::time::Duration;

use jiff::Timestamp;

use super::observe::Login;
use crate::journal::Refusal;

/// The waits between two attempts with the same user, address and keys.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// After the first refusal.
    pub first: Duration,
    /// What it doubles up to.
    pub max: Duration,
}

/// What is remembered of a host after this look at it. A login that was let in, or that was never reached with the same
/// credentials, is forgotten; one that was not tried stays as it was.
pub fn next(previous: Option<&Refusal>, host: &str, login: &Login, now: Timestamp, waits: Waits) -> Option<Refusal> {
    let id = match login {
        Login::Fine => return None,
        Login::Untried => return previous.cloned(),
        Login::Refused(id) => id,
    };
    let before = previous.filter(|known| known.login == *id).map_or(0, |known| known.times);
    // 2^16 times 15 minutes is over a year: whatever is longer is the maximum anyhow.
    let wait = waits.first.saturating_mul(1 << before.min(16)).min(waits.max);
    let until = now.checked_add(wait).unwrap_or(Timestamp::MAX);
    Some(Refusal { host: host.to_owned(), login: id.clone(), times: before.saturating_add(1), until })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_its_maximum_and_begins_anew_with_other_keys() {
        let waits = Waits { first: Duration::from_secs(900), max: Duration::from_secs(4 * 3600) };
        let now = Timestamp::from_second(1_000_000).unwrap();
        let mut known = None;
        let mut refused = |login: &Login| {
            known = next(known.as_ref(), "a", login, now, waits);
            known.as_ref().map(|refusal| refusal.until.duration_since(now).as_secs() / 60)
        };
        let same = Login::Refused("x".to_owned());
        let minutes: Vec<Option<i64>> = (0..40).map(|_| refused(&same)).collect();
        assert_eq!(minutes[..6], [Some(15), Some(30), Some(60), Some(120), Some(240), Some(240)]);
        assert_eq!(minutes[39], Some(240));
        assert_eq!(refused(&Login::Untried), Some(240), "not tried, not forgotten");
        assert_eq!(refused(&Login::Refused("other key".to_owned())), Some(15));
        assert_eq!(refused(&Login::Fine), None);
        assert_eq!(refused(&Login::Untried), None);
    }
}
