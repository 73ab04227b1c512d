//! Which issues a pull closes.

use std::collections::BTreeSet;

use super::depends::{Place, Ref, tokens};
use super::prose::{self, Line};
use super::{Pull, Repo};

/// The words by which forges close an issue when a pull is merged.
const WORDS: [&str; 9] = ["close", "closes", "closed", "fix", "fixes", "fixed", "resolve", "resolves", "resolved"];

/// The issues of the repo that a pull closes: `Fixes #12` in its text, `(#12)` in its title, or its branch `fix/issue-12`.
pub fn closes(repo: &Repo<'_>, pull: &Pull) -> BTreeSet<u64> {
    let mut found = BTreeSet::new();
    found.extend(pull.branch.strip_prefix("fix/issue-").and_then(leading));
    // Every `(#12)`: a title such as `fix: the parser (#12)`.
    let bracketed = pull.title.split("(#").skip(1).filter_map(|rest| rest.split_once(')'));
    found.extend(
        bracketed.filter_map(|(number, _)| leading(number).filter(|_| number.bytes().all(|b| b.is_ascii_digit()))),
    );
    let place = Place { slug: repo.slug, forge: repo.forge };
    // As lines end, so do lists: `Fixes #1` and `#2` below it are two things.
    let lines = prose::lines(&pull.body).into_iter().filter_map(|line| match line {
        Line::Blank => None,
        Line::Heading(_, text) | Line::Item(text) | Line::Text(text) => Some(text),
    });
    for line in lines.chain([pull.title.clone()]) {
        let tokens = tokens(&line, place);
        let mut armed = false;
        for token in &tokens {
            match &token.to {
                Some(to) if armed => {
                    if let Ref::Here(slug, number) = to
                        && slug.eq_ignore_ascii_case(repo.slug)
                    {
                        found.insert(*number);
                    }
                    armed = !token.ends;
                }
                // `Fixes #1, #2 and #3`: forges close the first alone, people mean them all.
                _ => {
                    armed = WORDS.contains(&token.word.as_str()) || (armed && matches!(token.word.as_str(), "and" | ""))
                }
            }
        }
    }
    // A squashed commit's title ends with the pull's own number.
    found.remove(&pull.number);
    found
}

/// The number that a text begins with.
fn leading(text: &str) -> Option<u64> {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok().filter(|number| *number > 0)
}
