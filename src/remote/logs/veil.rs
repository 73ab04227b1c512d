//! A [`Mask`] over logs that come in parts which were cut without it.

use std::collections::BTreeMap;

use super::{Cursor, Mask};

/// A log: host, token, stream and generation.
type Key = (String, String, String, u32);

/// Hides secrets in parts of several logs, also those that stand in two parts of one.
pub struct Veil<'a> {
    mask: &'a Mask,
    /// What may be the beginning of a secret, and is not shown yet.
    held: BTreeMap<Key, Veiled>,
}

/// Bytes of a log that can be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Veiled {
    /// The log, as it was with them.
    pub cursor: Cursor,
    /// Where they begin in it.
    pub offset: u64,
    /// The bytes, secrets hidden.
    pub bytes: Vec<u8>,
}

impl<'a> Veil<'a> {
    /// One over nothing yet.
    pub fn new(mask: &'a Mask) -> Veil<'a> {
        Veil { mask, held: BTreeMap::new() }
    }

    /// What can be shown now that these bytes of a log of `host` came.
    pub fn take(&mut self, host: &str, cursor: Cursor, offset: u64, bytes: Vec<u8>) -> Vec<Veiled> {
        let key = (host.to_owned(), cursor.token.clone(), cursor.stream.clone(), cursor.generation);
        let (mut shown, mut part) = (Vec::new(), Veiled { cursor, offset, bytes });
        match self.held.remove(&key) {
            Some(mut before) if before.offset + before.bytes.len() as u64 == offset => {
                before.bytes.append(&mut part.bytes);
                (part.offset, part.bytes) = (before.offset, before.bytes);
            }
            // There is a hole.
            Some(before) => shown.push(self.last(before)),
            None => {}
        }
        let plain = part.bytes.clone();
        self.mask.hide(&mut part.bytes, true);
        let rest = plain.get(part.bytes.len()..).unwrap_or_default();
        if !rest.is_empty() {
            let offset = part.offset + part.bytes.len() as u64;
            self.held.insert(key, Veiled { cursor: part.cursor.clone(), offset, bytes: rest.to_vec() });
        }
        if !part.bytes.is_empty() {
            shown.push(part);
        }
        shown
    }

    /// The rest, when no more comes, with the host of each.
    pub fn finish(mut self) -> Vec<(String, Veiled)> {
        let held = std::mem::take(&mut self.held);
        held.into_iter().map(|((host, ..), part)| (host, self.last(part))).collect()
    }

    fn last(&self, mut part: Veiled) -> Veiled {
        self.mask.hide(&mut part.bytes, false);
        part
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    #[test]
    fn a_secret_is_hidden_wherever_parts_were_cut_and_logs_are_kept_apart() {
        let mask = Mask::new([SecretString::from("hunter2!".to_owned())]);
        let log = b"a hunter2! b hunt";
        for cut in 0..=log.len() {
            let mut veil = Veil::new(&mask);
            let of = |stream: &str| Cursor { stream: stream.to_owned(), ..Cursor::default() };
            let mut shown = veil.take("h", of("out"), 0, log[..cut].to_vec());
            // Another log between the two is no continuation.
            assert_eq!(veil.take("h", of("err"), cut as u64, b"er2!".to_vec())[0].bytes, b"er2!");
            shown.extend(veil.take("h", of("out"), cut as u64, log[cut..].to_vec()));
            shown.extend(veil.finish().into_iter().map(|(host, part)| {
                assert_eq!(host, "h");
                part
            }));
            let mut all = Vec::new();
            for part in shown {
                assert_eq!(part.offset, all.len() as u64, "{cut}");
                all.extend(part.bytes);
            }
            assert_eq!(all, b"a ******** b ****", "{cut}");
        }
    }

    #[test]
    fn before_a_hole_what_was_held_is_shown() {
        let mask = Mask::new([SecretString::from("hunter2!".to_owned())]);
        let mut veil = Veil::new(&mask);
        assert_eq!(veil.take("h", Cursor::default(), 0, b"x hu".to_vec())[0].bytes, b"x ");
        let shown = veil.take("h", Cursor::default(), 100, b"nter2!".to_vec());
        assert_eq!(
            shown.iter().map(|part| (part.offset, &part.bytes[..])).collect::<Vec<_>>(),
            [(2, &b"hu"[..]), (100, b"nter2!")]
        );
        assert!(veil.finish().is_empty());
    }
}
