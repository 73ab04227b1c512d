//! "Did you mean": the nearest of the words that would have been right.

use super::literal;

/// How much of an offending word is repeated, in characters.
const MAX_WORD: usize = 60;

/// The one of `words` that `word` is most likely a slip of: at most a third of its letters differ, a swap of two
/// counting once, or only case and separators do, or one is the beginning of the other.
pub fn near<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = fold(word);
    let limit = (word.chars().count() / 3).clamp(1, 3);
    words
        .into_iter()
        .filter_map(|known| {
            // A long word is no slip of a short one, and the distance of two long ones is dear.
            if word.len() > known.len() + 8 {
                return None;
            }
            // `maximum` for `max`: written out, or cut short.
            let known_folded = fold(known);
            let (short, long) =
                if known_folded.len() < folded.len() { (&known_folded, &folded) } else { (&folded, &known_folded) };
            let distance = match known_folded == folded {
                true => 0,
                false if short.len() >= 3 && long.starts_with(short.as_str()) => 1,
                false => strsim::damerau_levenshtein(word, known),
            };
            // A two-letter word is near every other one: there only case may differ.
            let allowed = if known.chars().count() <= 2 { 0 } else { limit };
            (distance <= allowed).then_some((distance, known))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

fn fold(word: &str) -> String {
    word.chars().take(2 * MAX_WORD).filter(|c| !matches!(c, '_' | '-' | ' ')).flat_map(char::to_lowercase).collect()
}

/// `a`, `b` or `c`.
pub fn list<S: AsRef<str>>(words: &[S], last: &str) -> String {
    match words {
        [] => "nothing".to_owned(),
        [one] => format!("`{}`", one.as_ref()),
        [rest @ .., end] => {
            let rest: Vec<String> = rest.iter().map(|word| format!("`{}`", word.as_ref())).collect();
            format!("{} {last} `{}`", rest.join(", "), end.as_ref())
        }
    }
}

/// "did you mean `x`?", or all that there are.
pub(super) fn instead(word: &str, words: &[&str], head: &str) -> String {
    match near(word, words.iter().copied()) {
        Some(known) => format!("did you mean `{known}`?"),
        None if words.is_empty() => "remove it: nothing can be set here".to_owned(),
        None => format!("{head} {}", list(words, "and")),
    }
}

/// `word`, cut at [`MAX_WORD`], without control characters and without what stands behind a host: that may be secret.
pub(super) fn short(word: &str) -> String {
    if let Some((from, _)) = literal::behind_hosts(word).first() {
        return format!("{}...", short(word.get(..*from).unwrap_or_default()));
    }
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut out: String = word.chars().take(MAX_WORD).map(clean).collect();
    if word.chars().nth(MAX_WORD).is_some() {
        out.push_str("...");
    }
    out
}

/// What to do about a key that is missing.
pub(super) fn missing(key: &str) -> String {
    match key {
        "slug" => "add `slug: OWNER/NAME`, the repository's path on its forge".to_owned(),
        "url" => "add `url: https://...`".to_owned(),
        "endpoints" => "add `endpoints: [http://10.0.0.1:2379]`".to_owned(),
        "class" => {
            "add `class: dev`, `class: review` or `class: supervisor`: the rung of the ladder it stands on".to_owned()
        }
        "repo_id" => {
            "add `repo_id: N`, the number in the address of the repository's page there; without CI write `ci: none`"
                .to_owned()
        }
        "room" => "add `room: \"!abc:example.org\"`".to_owned(),
        "token" => "add `token: {env: NAME}`".to_owned(),
        "max_runs" => "add `max_runs: 2`".to_owned(),
        _ => format!("add `{key}: ...`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_another_word_does_not() {
        let words = ["branch", "slug", "token", "review_token", "ci"];
        for (slip, want) in [
            ("brnch", Some("branch")),
            ("barnch", Some("branch")),
            ("Branch", Some("branch")),
            ("review-token", Some("review_token")),
            ("reviewtoken", Some("review_token")),
            ("CI", Some("ci")),
            ("cd", None),
            ("colour", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(near(slip, words), want, "{slip}");
        }
    }

    #[test]
    fn lists_read_like_a_sentence() {
        assert_eq!(list::<&str>(&[], "or"), "nothing");
        assert_eq!(list(&["a"], "or"), "`a`");
        assert_eq!(list(&["a", "b", "c"], "or"), "`a`, `b` or `c`");
    }
}
