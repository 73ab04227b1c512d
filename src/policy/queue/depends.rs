//! What an issue waits for, as its text says it, and circles of issues that wait for each other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::prose::{self, Line};

/// An issue or a pull of any repo of the forge, or one that lies elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ref {
    /// OWNER/NAME in lower case, and the number there.
    Here(String, u64),
    /// The address of one on another forge, of which nothing can be known.
    Elsewhere(String),
}

impl Ref {
    /// One of a repo of the forge.
    pub fn new(slug: &str, number: u64) -> Ref {
        Ref::Here(slug.to_lowercase(), number)
    }

    /// As people of the repo `slug` write it: `#12`, `owner/repo#12`.
    pub fn shown(&self, slug: &str) -> String {
        match self {
            Ref::Here(repo, number) if repo.eq_ignore_ascii_case(slug) => format!("#{number}"),
            other => other.to_string(),
        }
    }
}

/// `owner/repo#12`, or the address.
impl std::fmt::Display for Ref {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ref::Here(repo, number) => write!(f, "{repo}#{number}"),
            Ref::Elsewhere(url) => f.write_str(url),
        }
    }
}

impl Serialize for Ref {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Ref {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let here = text.rsplit_once('#').and_then(|(slug, number)| Some(Ref::new(slug, number.parse().ok()?)));
        Ok(here.filter(|_| !text.contains("://")).unwrap_or(Ref::Elsewhere(text)))
    }
}

/// What is known of an issue or a pull that something depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fact {
    /// It is open.
    Open,
    /// It is done: an issue that is closed, a pull that is merged.
    Closed,
    /// It is closed, and the pull with this number, which was to close it or which it is, is not merged: what was to be
    /// there is not.
    Unmerged(u64),
    /// The forge knows no such number.
    Absent,
    /// The forge did not tell, or may not tell us.
    Unknown,
}

/// Headings under which every reference is a dependency.
const HEADINGS: [&str; 7] =
    ["depends on", "depends", "depends-on", "dependencies", "dependency", "blocked by", "blocked-by"];

/// What the text of an issue of the repo `slug`, on the forge at `forge`, says that it depends on, each once, in order:
/// every reference below a heading such as `## Depends on`, and those behind `depends on`, `blocked by` and `after`.
///
/// A reference is `#12`, `!12`, `owner/repo#12`, or the address of an issue or a pull. What is code, quoted, a comment or
/// struck out says nothing, and neither does a reference anywhere else.
pub fn depends(body: &str, slug: &str, forge: &str) -> Vec<Ref> {
    let place = Place { slug, forge };
    let mut found: Vec<Ref> = Vec::new();
    let mut add = |refs: Vec<Ref>| {
        for one in refs {
            if !found.contains(&one) {
                found.push(one);
            }
        }
    };
    // The level of the heading that we are below, if it is one of ours; 8 is a line such as `Depends on:` before a list.
    let mut section: Option<usize> = None;
    let mut paragraph = String::new();
    let lines = prose::lines(body);
    for line in lines.iter().chain([&Line::Blank]) {
        if !matches!(line, Line::Text(_)) {
            add(inline(&tokens(&std::mem::take(&mut paragraph), place)));
        }
        match line {
            Line::Heading(level, title) => {
                let known = titled(title);
                if section.is_none_or(|above| *level <= above) || known {
                    section = known.then_some(*level);
                }
                // `## Blocked by #12`
                add(inline(&tokens(title, place)));
            }
            Line::Item(text) if section.is_some() => add(all(&tokens(text, place))),
            Line::Item(text) => paragraph.push_str(text),
            Line::Text(text) => {
                if section == Some(8) {
                    section = None;
                }
                match section {
                    Some(_) => add(all(&tokens(text, place))),
                    None if text.trim_end().ends_with([':', '*']) && titled(text) => section = Some(8),
                    None => {
                        paragraph.push(' ');
                        paragraph.push_str(text);
                    }
                }
            }
            Line::Blank => {}
        }
    }
    found
}

/// Whether a heading says that dependencies follow.
fn titled(title: &str) -> bool {
    let words: Vec<String> = title.split_whitespace().map(bare).filter(|word| !word.is_empty()).collect();
    HEADINGS.contains(&words.join(" ").as_str())
}

/// A word without what stands around it.
fn bare(word: &str) -> String {
    word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase()
}

/// Where a text stands: what `#12` means there.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub slug: &'a str,
    pub forge: &'a str,
}

/// One word of a text.
pub(super) struct Token {
    /// In lower case, without what stands around it.
    pub word: String,
    /// What it refers to.
    pub to: Option<Ref>,
    /// It begins with a bracket.
    opens: bool,
    /// A bracket ends behind it.
    closes: bool,
    /// A sentence ends behind it.
    pub ends: bool,
}

/// The words of a text.
pub(super) fn tokens(text: &str, place: Place<'_>) -> Vec<Token> {
    // `[#12](https://...)` refers twice, `#3,#4` to two.
    let text = text.replace("](", "] (").replace(',', ", ");
    let token = |chunk: &str| {
        // The closing mark of a quotation or of bold text is behind the full stop, or before it.
        let tail = chunk.trim_end_matches(['*', '_', '"', '\'']);
        Token {
            word: bare(chunk),
            to: reference(chunk, place),
            opens: chunk.starts_with('('),
            closes: tail.trim_end_matches(['.', ',', ';', ':']).ends_with(')'),
            ends: tail.ends_with(['.', '!', '?']),
        }
    };
    text.split_whitespace().map(token).collect()
}

/// What a word refers to.
fn reference(chunk: &str, place: Place<'_>) -> Option<Ref> {
    let around = |c: char| matches!(c, '*' | '_' | '(' | ')' | '[' | ']' | '<' | '>' | '"' | '\'' | '|' | '.' | ',');
    let word = chunk.trim_matches(|c: char| around(c) || matches!(c, ';' | ':' | '?' | '\u{201c}' | '\u{201d}'));
    let word = word.trim_end_matches(['!', '.']);
    if word.starts_with("https://") || word.starts_with("http://") {
        return address(word, place);
    }
    if let Some(number) = word.strip_prefix(['#', '!']) {
        return Some(Ref::new(place.slug, digits(number)?));
    }
    let (repo, number) = word.split_once(['#', '!'])?;
    let (owner, name) = repo.split_once('/')?;
    let part = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
    };
    (part(owner) && part(name)).then_some(())?;
    Some(Ref::new(repo, digits(number)?))
}

/// A number from 1, and nothing else.
fn digits(text: &str) -> Option<u64> {
    let number = text.chars().all(|c| c.is_ascii_digit()).then(|| text.parse().ok())??;
    (number > 0).then_some(number)
}

/// The address of an issue or a pull: `https://HOST/OWNER/NAME/issues/12#issuecomment-3`.
fn address(url: &str, place: Place<'_>) -> Option<Ref> {
    let path = url.split(['#', '?']).next()?.trim_end_matches('/');
    let (rest, number) = path.rsplit_once('/')?;
    let (repo, kind) = rest.rsplit_once('/')?;
    let number = digits(number).filter(|_| matches!(kind, "issues" | "pulls" | "pull" | "merge_requests"))?;
    // The scheme says how, not where.
    let bare = |url: &str| url.split_once("://").map_or(url, |(_, rest)| rest).trim_end_matches('/').to_lowercase();
    let (repo, front) = (bare(repo), bare(place.forge));
    let own = repo.strip_prefix(&front).and_then(|rest| rest.strip_prefix('/'));
    Some(match own.filter(|slug| slug.matches('/').count() == 1) {
        Some(slug) => Ref::new(slug, number),
        None => Ref::Elsewhere(path.to_owned()),
    })
}

/// Every reference.
fn all(tokens: &[Token]) -> Vec<Ref> {
    tokens.iter().filter_map(|token| token.to.clone()).collect()
}

/// The references behind the words that say so.
fn inline(tokens: &[Token]) -> Vec<Ref> {
    let mut found = Vec::new();
    let word = |at: usize| tokens.get(at).map_or("", |token| token.word.as_str());
    for at in 0..tokens.len() {
        let length = match (word(at), word(at + 1)) {
            ("depends" | "depend", "on") | ("blocked", "by" | "on") => 2,
            ("depends" | "depends-on" | "blocked-by" | "after", _) => 1,
            _ => continue,
        };
        // `not blocked by #3`, `no longer depends on #3`
        let before = [at.checked_sub(1), at.checked_sub(2)].map(|before| before.map_or("", word));
        let no = |word: &str| matches!(word, "not" | "no" | "never" | "longer" | "nor") || word.ends_with("n't");
        if no(before[0]) || (no(before[1]) && matches!(before[0], "be" | "yet" | "longer" | "really")) {
            continue;
        }
        found.extend(listed(tokens.get(at + length..).unwrap_or_default()));
    }
    found
}

/// The references at the beginning: `issue #12 (the schema), #13 and !14`.
fn listed(tokens: &[Token]) -> Vec<Ref> {
    let mut found = Vec::new();
    let mut aside = false;
    for token in tokens {
        if let Some(to) = token.to.clone() {
            // What is named in brackets behind one is the address of a link, or beside the point.
            if !(aside || token.opens && !token.closes) || found.is_empty() {
                found.push(to);
            }
            aside = (aside || token.opens) && !token.closes;
            if token.ends && !aside {
                break;
            }
            continue;
        }
        if aside || (token.opens && !found.is_empty()) {
            aside = !token.closes;
            if token.ends && !aside {
                break;
            }
            continue;
        }
        let filler = matches!(
            token.word.as_str(),
            "" | "and" | "or" | "issue" | "issues" | "pull" | "pulls" | "request" | "requests" | "pr" | "prs" | "the"
        ) || (found.is_empty() && matches!(token.word.as_str(), "both" | "merging" | "merge" | "of"));
        if !filler || (token.ends && !token.word.is_empty()) {
            break;
        }
    }
    found
}

/// Who depends on whom, over as many repos as are known.
#[derive(Clone, Debug, Default)]
pub struct Graph<'a> {
    edges: BTreeMap<Ref, BTreeSet<&'a Ref>>,
}

impl<'a> Graph<'a> {
    /// Adds what the open issue `number` of a repo depends on.
    pub fn add(&mut self, slug: &str, number: u64, on: &'a [Ref]) {
        // Most depend on nothing, and are in no circle.
        if !on.is_empty() {
            self.edges.entry(Ref::new(slug, number)).or_default().extend(on);
        }
    }

    /// The shortest circle through an issue, beginning and ending with it; the same one whatever the order in which it
    /// was added. None when it is in none, or depends on itself alone.
    pub fn circle(&self, from: &Ref) -> Option<Vec<Ref>> {
        let mut came: BTreeMap<&Ref, &Ref> = BTreeMap::new();
        let mut next = VecDeque::from([from]);
        while let Some(at) = next.pop_front() {
            for to in self.edges.get(at).into_iter().flatten().copied() {
                if to == from && at != from {
                    let back = std::iter::successors(Some(at), |at| came.get(*at).copied());
                    let mut path: Vec<Ref> = [from].into_iter().chain(back).cloned().collect();
                    path.reverse();
                    return Some(path);
                }
                if to != from && !came.contains_key(to) {
                    came.insert(to, at);
                    next.push_back(to);
                }
            }
        }
        None
    }
}
