//! Known secrets in logs: each is hidden before anything is kept or shown.

use std::collections::BTreeSet;

use secrecy::{ExposeSecret, SecretString};

/// The longest secret that is known, in bytes: what `inventory::secret` reads at most.
pub const LONGEST: usize = 64 << 10;

/// Shorter values are left alone: too much else would be hidden with them.
const SHORTEST: usize = 4;

/// Hides secrets, byte for byte: `*` for each, so that offsets stay what they are.
#[derive(Debug, Default)]
pub struct Mask {
    secrets: Vec<SecretString>,
    /// The repos of which a secret is not known.
    unread: BTreeSet<String>,
}

impl Mask {
    /// One that hides these.
    pub fn new(secrets: impl IntoIterator<Item = SecretString>) -> Mask {
        let fits = |secret: &SecretString| (SHORTEST..=LONGEST).contains(&secret.expose_secret().len());
        Mask { secrets: secrets.into_iter().filter(fits).collect(), unread: BTreeSet::new() }
    }

    /// The same, where a secret of each of these repos could not be read.
    pub fn without(self, unread: BTreeSet<String>) -> Mask {
        Mask { unread, ..self }
    }

    /// Whether all secrets are known that what works for `repo` could write. What works for all repos (`*`), or nobody
    /// knows for which, could write those of any.
    pub fn covers(&self, repo: Option<&str>) -> bool {
        match repo {
            Some(repo) if repo != "*" => !self.unread.contains(repo),
            _ => self.unread.is_empty(),
        }
    }

    /// Hides every secret in `bytes`. With `more` to come, what may be the beginning of a secret is cut off their end, to
    /// be fetched again together with what follows; at the end of a log the greater part of a secret is hidden too.
    pub fn hide(&self, bytes: &mut Vec<u8>, more: bool) {
        let mut found: Vec<(usize, usize)> = Vec::new();
        for secret in self.values() {
            found.extend(occurrences(bytes, secret).map(|at| (at, at + secret.len())));
        }
        let held = self.values().map(|secret| begun(bytes, secret)).max().unwrap_or_default();
        let mut keep = bytes.len() - held;
        if !more {
            let most = |secret: &[u8]| Some(begun(bytes, secret)).filter(|length| *length * 2 >= secret.len());
            let length = self.values().filter_map(most).max().unwrap_or_default();
            found.push((bytes.len() - length, bytes.len()));
            keep = bytes.len();
        } else {
            // A secret that is there whole must not be taken apart: its second half alone would not be known for one.
            while let Some((from, _)) = found.iter().find(|(from, to)| *from < keep && keep < *to) {
                keep = *from;
            }
            // Never nothing for ever, whatever repeats itself there.
            if keep == 0 && bytes.len() > LONGEST {
                keep = bytes.len();
            }
        }
        for (from, to) in found {
            bytes.get_mut(from..to).into_iter().for_each(|secret| secret.fill(b'*'));
        }
        bytes.truncate(keep);
    }

    /// `text`, a line or the part of one, with every secret hidden, also the greater part of one at its end; of one that
    /// begins before `text` or goes on behind it (`cut`) any part, and so the whole of a `text` that stands in the middle of one.
    pub fn hide_part(&self, text: &str, cut_before: bool, cut_behind: bool) -> String {
        // What a cut left of a character.
        let text = if cut_before { text.trim_start_matches('\u{fffd}') } else { text };
        let mut bytes = text.as_bytes().to_vec();
        let length = bytes.len();
        let rest = |secret: &[u8]| {
            let most = length.min(secret.len().saturating_sub(1));
            (1..=most).rev().find(|rest| text.as_bytes().get(..*rest).is_some_and(|begin| secret.ends_with(begin)))
        };
        let before = if cut_before { self.values().filter_map(rest).max().unwrap_or_default() } else { 0 };
        let begun = self.values().map(|secret| begun(text.as_bytes(), secret)).max().unwrap_or_default();
        let behind = if cut_behind { begun } else { 0 };
        let inside = |secret: &[u8]| length >= SHORTEST && occurrences(secret, text.as_bytes()).next().is_some();
        let all = self.values().any(inside);
        self.hide(&mut bytes, false);
        let hidden = if all { 0..length } else { 0..before };
        bytes.get_mut(hidden).into_iter().for_each(|part| part.fill(b'*'));
        bytes.get_mut(length - behind..).into_iter().for_each(|part| part.fill(b'*'));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn values(&self) -> impl Iterator<Item = &[u8]> {
        self.secrets.iter().map(|secret| secret.expose_secret().as_bytes())
    }
}

/// Where `secret` stands in `bytes`, also where it overlaps itself.
fn occurrences<'a>(bytes: &'a [u8], secret: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let (first, rest) = secret.split_first().map_or((0, &[][..]), |(first, rest)| (*first, rest));
    let starts = bytes.iter().enumerate().filter(move |(_, byte)| **byte == first).map(|(at, _)| at);
    starts.filter(move |at| bytes.get(at + 1..).is_some_and(|after| after.starts_with(rest)))
}

/// How many bytes at the end of `bytes` are the beginning of `secret`, and not all of it.
fn begun(bytes: &[u8], secret: &[u8]) -> usize {
    let most = bytes.len().min(secret.len().saturating_sub(1));
    let is = |length: &usize| secret.get(..*length).is_some_and(|begin| bytes.ends_with(begin));
    (1..=most).rev().find(is).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mask(secrets: &[&str]) -> Mask {
        Mask::new(secrets.iter().map(|secret| SecretString::from((*secret).to_owned())))
    }

    /// What is shown of a log that is fetched in parts that end at these places at the latest.
    fn shown(mask: &Mask, log: &[u8], cuts: &[usize]) -> Vec<u8> {
        let mut shown = Vec::new();
        for cut in cuts.iter().copied().chain([log.len()]) {
            let mut part = log[shown.len()..cut.clamp(shown.len(), log.len())].to_vec();
            mask.hide(&mut part, cut < log.len());
            shown.extend(part);
        }
        shown
    }

    #[test]
    fn a_secret_is_hidden_wherever_parts_end() {
        let mask = mask(&["hunter2!", "hunt-other", "x"]);
        assert_eq!(format!("{mask:?}").matches("hunter").count(), 0);
        let log = b"\0a hunter2! hunter2!hunter2! hunter2 hunt-other x hunt\nhunte";
        let want = b"\0a ******** **************** hunter2 ********** x hunt\n*****";
        for first in 0..log.len() {
            for second in first..log.len() {
                assert_eq!(shown(&mask, log, &[first, second]), want, "{first} {second}");
            }
        }
    }

    #[test]
    fn what_only_repeats_the_beginning_of_a_secret_does_not_stand_still() {
        let mask = mask(&["abababab"]);
        let mut part = b"ab".repeat(LONGEST);
        let length = part.len();
        mask.hide(&mut part, true);
        assert_eq!(part.len(), length);
        assert!(part.iter().all(|byte| *byte == b'*'));
    }

    #[test]
    fn of_a_part_of_a_line_no_part_of_a_secret_is_shown() {
        let mask = mask(&["hunter2-s3cret"]);
        for (text, before, behind, want) in [
            ("a hunter2-s3cret b", false, false, "a ************** b"),
            ("3cret said hunt", false, false, "3cret said hunt"),
            ("3cret said hunt", true, false, "***** said hunt"),
            ("t said hunt", true, true, "* said ****"),
            ("3cret said hunter2-", true, false, "***** said ********"),
            ("\u{fffd}3cret", true, false, "*****"),
            ("ter2-s3", true, true, "*******"),
            ("ter2-s3", false, false, "*******"),
            ("", true, true, ""),
        ] {
            assert_eq!(mask.hide_part(text, before, behind), want, "{text} {before} {behind}");
        }
    }

    proptest! {
        #[test]
        fn any_log_in_any_parts_is_shown_whole_and_without_its_secrets(
            log in "[abc]{0,60}", secrets in proptest::collection::vec("[abc]{4,7}", 0..3), mut cuts in proptest::collection::vec(0usize..60, 0..8),
        ) {
            cuts.sort_unstable();
            let mask = mask(&secrets.iter().map(String::as_str).collect::<Vec<_>>());
            let shown = shown(&mask, log.as_bytes(), &cuts);
            prop_assert_eq!(shown.len(), log.len());
            // Every byte is as it was or hidden, and every byte of a secret is hidden.
            let mut hidden = vec![false; log.len()];
            for secret in &secrets {
                for at in occurrences(log.as_bytes(), secret.as_bytes()) {
                    hidden[at..at + secret.len()].fill(true);
                }
            }
            for (at, (now, was)) in shown.iter().zip(log.bytes()).enumerate() {
                prop_assert!(*now == b'*' || (*now == was && !hidden[at]), "{at}: {:?}", String::from_utf8_lossy(&shown));
            }
        }
    }
}
