//! Shell patterns as Python's `fnmatch` matches them: `*`, `?`, `[a-z]`, `[!a-z]`; no escapes, case counts.

/// One part of a pattern.
enum Part {
    One(char),
    Any,
    Many,
    Set { not: bool, ranges: Vec<(char, char)> },
}

/// A compiled pattern.
pub(crate) struct Glob(Vec<Part>);

impl Glob {
    /// Every text is a pattern: a `[` without its `]` stands for itself.
    pub fn new(pattern: &str) -> Glob {
        let chars: Vec<char> = pattern.chars().collect();
        let mut parts = Vec::new();
        let mut at = 0;
        while let Some(c) = chars.get(at) {
            at += 1;
            match c {
                '*' if matches!(parts.last(), Some(Part::Many)) => {}
                '*' => parts.push(Part::Many),
                '?' => parts.push(Part::Any),
                '[' => match set(chars.get(at..).unwrap_or_default()) {
                    Some((part, length)) => {
                        parts.push(part);
                        at += length;
                    }
                    None => parts.push(Part::One('[')),
                },
                c => parts.push(Part::One(*c)),
            }
        }
        Glob(parts)
    }

    /// Whether the whole of `text` fits; in time proportional to both lengths.
    pub fn matches(&self, text: &str) -> bool {
        let chars: Vec<char> = text.chars().collect();
        let (mut at, mut part) = (0, 0);
        // Where the last `*` stands and how far it reaches: only that one ever needs to give back.
        let mut star: Option<(usize, usize)> = None;
        loop {
            let fits = match (self.0.get(part), chars.get(at)) {
                (None, None) => return true,
                (Some(Part::Many), _) => {
                    star = Some((part, at));
                    part += 1;
                    continue;
                }
                (Some(Part::Any), Some(_)) => true,
                (Some(Part::One(want)), Some(c)) => want == c,
                (Some(Part::Set { not, ranges }), Some(c)) => {
                    ranges.iter().any(|(low, high)| (low..=high).contains(&c)) != *not
                }
                _ => false,
            };
            if fits {
                (at, part) = (at + 1, part + 1);
                continue;
            }
            match star {
                Some((many, reach)) if reach < chars.len() => {
                    star = Some((many, reach + 1));
                    (at, part) = (reach + 1, many + 1);
                }
                _ => return false,
            }
        }
    }
}

/// The set that begins behind a `[`, with its length up to and with the `]`.
fn set(chars: &[char]) -> Option<(Part, usize)> {
    let not = chars.first() == Some(&'!');
    let from = usize::from(not);
    // A `]` in the first place stands for itself.
    let end = chars.iter().enumerate().skip(from + 1).find(|(_, c)| **c == ']').map(|(at, _)| at)?;
    let inside = chars.get(from..end)?;
    let mut ranges = Vec::new();
    let mut at = 0;
    while let Some(low) = inside.get(at) {
        match (inside.get(at + 1), inside.get(at + 2)) {
            (Some('-'), Some(high)) => {
                ranges.push((*low, *high));
                at += 3;
            }
            _ => {
                ranges.push((*low, *low));
                at += 1;
            }
        }
    }
    Some((Part::Set { not, ranges }, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_as_fnmatch_does() {
        for (pattern, yes, no) in [
            ("web*", vec!["web", "web1"], vec!["Web", "aweb"]),
            ("*", vec!["", "x"], vec![]),
            ("w?b", vec!["web"], vec!["wb", "weeb"]),
            ("*a*b*c", vec!["abc", "xaxbxc", "aabbcc"], vec!["acb", "ab"]),
            ("n[0-3]", vec!["n0", "n3"], vec!["n4", "n"]),
            ("n[!0-3]", vec!["n4", "nx"], vec!["n0"]),
            ("n[]a]", vec!["n]", "na"], vec!["nb"]),
            ("n[a", vec!["n[a"], vec!["na"]),
            ("n[z-a]", vec![], vec!["nz", "na", "n-"]),
            ("n[a-c-e]", vec!["nb", "n-", "ne"], vec!["nd"]),
            ("n[^a]", vec!["n^", "na"], vec!["nb"]),
            ("n.1", vec!["n.1"], vec!["nx1"]),
        ] {
            let glob = Glob::new(pattern);
            assert!(yes.iter().all(|text| glob.matches(text)), "{pattern}");
            assert!(!no.iter().any(|text| glob.matches(text)), "{pattern}");
        }
        assert!(!Glob::new(&"*a".repeat(200)).matches(&"a".repeat(199)));
    }
}
