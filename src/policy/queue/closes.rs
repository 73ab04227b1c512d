//! Which issues a pull closes.

use std::collections::BTreeSet;

use super::depends::{Place, Ref, tokens};
use super::prose::{self, Line};

/// The words by which forges close an issue when a pull is merged.
const WORDS: [&str; 9] = ["close", "closes", "closed", "fix", "fixes", "fixed", "resolve", "resolves", "resolved"];

/// What is said of a pull.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// Its number.
    pub number: u64,
    /// Its title.
    pub title: &'a str,
    /// Its text.
    pub body: &'a str,
    /// The branch that it comes from.
    pub branch: &'a str,
}

/// The issues of the repo `slug`, on the forge at `forge`, that a pull closes: `Fixes #12` in its text, `(#12)` in its title,
/// or its branch `fix/issue-12`.
pub fn closes(pull: Told<'_>, slug: &str, forge: &str) -> BTreeSet<u64> {
    let mut found = BTreeSet::new();
    found.extend(pull.branch.strip_prefix("fix/issue-").and_then(leading));
    // Every `(#12)`: a title such as `fix: the parser (#12)`.
    let bracketed = pull.title.split("(#").skip(1).filter_map(|rest| rest.split_once(')'));
    found.extend(
        bracketed.filter_map(|(number, _)| leading(number).filter(|_| number.bytes().all(|b| b.is_ascii_digit()))),
    );
    let place = Place { slug, forge };
    // As lines end, so do lists: `Fixes #1` and `#2` below it are two things.
    let lines = prose::lines(pull.body).into_iter().filter_map(|line| match line {
        Line::Blank => None,
        Line::Heading(_, text) | Line::Item(text) | Line::Text(text) => Some(text),
    });
    for line in lines.chain([pull.title.to_owned()]) {
        let tokens = tokens(&line, place);
        let mut armed = false;
        for token in &tokens {
            match &token.to {
                Some(to) if armed => {
                    if let Ref::Here(of, number) = to
                        && of.eq_ignore_ascii_case(slug)
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
