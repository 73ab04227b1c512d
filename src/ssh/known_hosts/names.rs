//! The names at the head of a known_hosts line: a list of patterns, or one hash.

use aws_lc_rs::hmac;

use crate::ssh::base64;

/// What a hashed name begins with: version 1, HMAC-SHA1.
const HASH_MAGIC: &[u8] = b"|1|";

/// Bytes of an HMAC-SHA1, and of the salt that OpenSSH demands with it.
const HASH_SIZE: usize = 20;

/// The longest pattern that OpenSSH considers, in bytes; a list that holds a longer one matches nothing.
const MAX_PATTERN: usize = 1022;

/// Which hosts a line speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// Comma-separated patterns with `*`, `?` and `!`, as they stand in the file.
    Patterns(Vec<u8>),
    /// One name, hashed.
    Hashed {
        /// The key of the HMAC.
        salt: [u8; HASH_SIZE],
        /// The HMAC of the lower-case name; `None` where the text is no such hash, which then matches nothing.
        hash: Option<[u8; HASH_SIZE]>,
    },
}

impl Names {
    /// Reads the first field of a line; the error says what is wrong with it.
    pub(super) fn parse(field: &[u8]) -> Result<Names, &'static str> {
        if field.first() != Some(&b'|') {
            return Ok(Names::Patterns(field.to_vec()));
        }
        let rest = field.strip_prefix(HASH_MAGIC).ok_or("a hashed name of an unknown kind")?;
        let delimiter = rest.iter().position(|b| *b == b'|').ok_or("a hashed name without its hash")?;
        let (salt, hash) = rest.split_at_checked(delimiter).ok_or("a hashed name without its hash")?;
        let salt = exact(salt).ok_or("a hashed name with a bad salt")?;
        Ok(Names::Hashed { salt, hash: hash.strip_prefix(b"|").and_then(exact) })
    }

    /// Hashes `name`, which must be lower case, under `salt`.
    pub(super) fn hashed(name: &str, salt: [u8; HASH_SIZE]) -> Names {
        Names::Hashed { salt, hash: hash(name, &salt) }
    }

    /// Whether they stand for `name`, which must be lower case: a host, or `[host]:port`.
    pub(super) fn matches(&self, name: &str) -> bool {
        match self {
            Names::Patterns(list) => matches_list(name.as_bytes(), list),
            Names::Hashed { hash: None, .. } => false,
            Names::Hashed { salt, hash: Some(wanted) } => hash(name, salt).is_some_and(|hash| hash == *wanted),
        }
    }

    /// Whether they may stand for more than one name, so that removing the line takes more than one host away.
    pub(super) fn several(&self) -> bool {
        match self {
            Names::Patterns(list) => list.iter().any(|b| matches!(b, b',' | b'*' | b'?' | b'!')),
            Names::Hashed { .. } => false,
        }
    }

    /// As they stand in a file.
    pub(super) fn to_text(&self) -> String {
        match self {
            Names::Patterns(list) => String::from_utf8_lossy(list).into_owned(),
            Names::Hashed { salt, hash } => {
                let hash = hash.as_ref().map(|hash| base64::encode(hash)).unwrap_or_default();
                format!("|1|{}|{hash}", base64::encode(salt))
            }
        }
    }
}

fn exact(text: &[u8]) -> Option<[u8; HASH_SIZE]> {
    base64::decode(text)?.try_into().ok()
}

fn hash(name: &str, salt: &[u8; HASH_SIZE]) -> Option<[u8; HASH_SIZE]> {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
    hmac::sign(&key, name.as_bytes()).as_ref().try_into().ok()
}

/// OpenSSH's `match_hostname`: any pattern that matches, unless one with `!` does.
fn matches_list(name: &[u8], list: &[u8]) -> bool {
    let mut matched = false;
    // A comma at the end does not make one more, empty pattern; it would match nothing anyway.
    for pattern in list.split(|b| *b == b',') {
        let (negated, pattern) = match pattern.strip_prefix(b"!") {
            Some(rest) => (true, rest),
            None => (false, pattern),
        };
        if pattern.len() > MAX_PATTERN {
            return false;
        }
        if matches_pattern(name, &pattern.to_ascii_lowercase()) {
            if negated {
                return false;
            }
            matched = true;
        }
    }
    matched
}

/// Whether `pattern` with `*` (any text) and `?` (any byte) stands for `name`; at most `name.len() * pattern.len()`
/// steps, since a file may hold anything.
pub(super) fn matches_pattern(name: &[u8], pattern: &[u8]) -> bool {
    let (mut at, mut next) = (0, 0);
    // Where to go on after the last `*`: the pattern behind it, and the name's byte that it has not yet swallowed.
    let mut star: Option<(usize, usize)> = None;
    loop {
        match (name.get(at), pattern.get(next)) {
            (_, Some(b'*')) => {
                star = Some((next + 1, at));
                next += 1;
            }
            (None, None) => return true,
            (Some(have), Some(want)) if *want == b'?' || want == have => {
                at += 1;
                next += 1;
            }
            (None, Some(_)) => return false,
            (Some(_), _) => match star {
                None => return false,
                Some((behind, swallowed)) => {
                    star = Some((behind, swallowed + 1));
                    next = behind;
                    at = swallowed + 1;
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(name: &str, list: &str) -> bool {
        Names::parse(list.as_bytes()).unwrap().matches(name)
    }

    #[test]
    fn patterns_match_as_openssh_says() {
        assert!(list("web-1", "web-?"));
        assert!(!list("web-10", "web-?"));
        assert!(list("a.b.example.com", "*.example.com"));
        assert!(!list("example.com", "*.example.com"));
        assert!(list("h", "x,H,y"));
        assert!(!list("h.example.com", "*.example.com,!h.example.com"));
        assert!(!list("h.example.com", "!h.example.com,*.example.com"));
        assert!(!list("other", "!h"), "a negation alone matches nothing");
        assert!(list("[h]:2222", "[h]:2222"));
        assert!(list("[h]:2222", "[*]:*"));
        assert!(!list("h", "[h]:22"));
        assert!(list("h", "h,"));
        assert!(!list("h", ""));
        assert!(list("h", "**"));
        assert!(!list("h", &format!("h,{}", "x".repeat(1023))));
        assert!(list("h", &format!("h,{}", "x".repeat(1022))));
    }

    #[test]
    fn a_hash_matches_the_one_name_it_was_made_from() {
        let names = Names::hashed("web-1", [7; 20]);
        assert!(names.matches("web-1"));
        assert!(!names.matches("web-2"));
        assert_eq!(Names::parse(names.to_text().as_bytes()).unwrap(), names);
        assert!(!list("web-1", &format!("{},web-1", names.to_text())), "a hash is no member of a list");
        for bad in ["|1|", "|1|x", "|2|a|b", "|1|aGk=|aGk=", "|"] {
            assert!(Names::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    /// The same by definition: slow, and obviously right.
    fn by_definition(name: &[u8], pattern: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((b'*', rest)) => (0..=name.len()).any(|skip| by_definition(&name[skip..], rest)),
            Some((want, rest)) => name
                .split_first()
                .is_some_and(|(have, name)| (*want == b'?' || want == have) && by_definition(name, rest)),
        }
    }

    proptest! {
        #[test]
        fn matching_is_what_the_definition_says(name in "[ab*?]{0,8}", pattern in "[ab*?]{0,8}") {
            prop_assert_eq!(
                matches_pattern(name.as_bytes(), pattern.as_bytes()),
                by_definition(name.as_bytes(), pattern.as_bytes())
            );
        }
    }
}
