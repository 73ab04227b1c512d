//! Patterns with `*` and `?`, and lists of them.

/// Whether `pattern` stands for all of `text`; bytes and case count.
pub(super) fn matches(text: &[u8], pattern: &[u8]) -> bool {
    // Where to go on after a mismatch: behind the last `*`, one more byte of the text taken by it.
    let mut retry: Option<(usize, usize)> = None;
    let (mut at, mut want) = (0, 0);
    while at < text.len() {
        match pattern.get(want) {
            Some(b'*') => {
                retry = Some((want + 1, at));
                want += 1;
            }
            Some(c) if *c == b'?' || text.get(at) == Some(c) => {
                at += 1;
                want += 1;
            }
            _ => {
                let Some((behind, taken)) = retry else { return false };
                retry = Some((behind, taken + 1));
                (want, at) = (behind, taken + 1);
            }
        }
    }
    pattern.iter().skip(want).all(|c| *c == b'*')
}

/// Whether `text` is in a list with commas: some pattern matches, and none with `!` before it.
pub(super) fn in_list(text: &str, list: &str) -> bool {
    let mut found = false;
    for pattern in list.split(',') {
        let (negated, pattern) = pattern.strip_prefix('!').map_or((false, pattern), |rest| (true, rest));
        if matches(text.as_bytes(), pattern.as_bytes()) {
            if negated {
                return false;
            }
            found = true;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        for (text, pattern, expected) in [
            ("web-1", "web-?", true),
            ("web-1", "*-1", true),
            ("web-1", "w*b*1", true),
            ("web-1", "w**1*", true),
            ("web-1", "Web-1", false),
            ("web-1", "web", false),
            ("", "*", true),
            ("", "?", false),
            ("aab", "*ab", true),
            ("a", "a?", false),
        ] {
            assert_eq!(matches(text.as_bytes(), pattern.as_bytes()), expected, "{text} {pattern}");
        }
        let hostile = "*a".repeat(2000);
        assert!(!matches("a".repeat(1999).as_bytes(), hostile.as_bytes()));
    }

    #[test]
    fn a_negated_pattern_in_a_list_wins() {
        assert!(in_list("a.x", "*.y,*.x") && !in_list("a.x", "*.x,!a.*") && !in_list("a.x", "!b.x"));
    }
}
