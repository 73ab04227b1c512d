//! Host patterns: names, groups, globs, `~regex`, lists with commas or colons, `&group`, `!group`, `name[0:2]`.

use std::collections::HashSet;

use super::glob::Glob;
use super::groups::Groups;
use super::{Hosts, address};
use crate::error::{Error, Result};

/// How far a `~regex` may go back on one name.
const MAX_BACKTRACKS: usize = 1_000_000;

/// The names of this machine.
const LOCALHOST: [&str; 3] = ["127.0.0.1", "localhost", "::1"];

/// The hosts that `pattern` selects, as `ansible PATTERN --list-hosts` lists them, each once, by index.
///
/// # Errors
/// When nothing matches or the pattern is none.
pub(super) fn select(hosts: &Hosts, pattern: &str) -> Result<Vec<usize>> {
    let groups = &hosts.groups;
    let mut terms = Vec::new();
    for term in split(pattern) {
        match term.strip_prefix('@') {
            Some(path) => terms.extend(from_file(path)?),
            None => terms.push(term),
        }
    }
    let (mut add, mut keep, mut drop) = (Vec::new(), Vec::new(), Vec::new());
    for term in terms.iter().map(String::as_str).filter(|term| !term.is_empty()) {
        match term.as_bytes().first() {
            Some(b'!') => drop.push(term),
            Some(b'&') => keep.push(term),
            _ => add.push(term),
        }
    }
    if add.is_empty() {
        add.push("all");
    }
    let mut found: Vec<usize> = Vec::new();
    for term in &add {
        // A host of this very name, whatever groups and other hosts the term would match.
        match groups.host(term) {
            Some(host) => found.push(host),
            None => found.extend(matches(groups, term)?),
        }
    }
    for term in &keep {
        narrow(groups, term, true, &mut found)?;
    }
    for term in &drop {
        narrow(groups, term, false, &mut found)?;
    }
    let mut seen = HashSet::new();
    found.retain(|host| seen.insert(*host));
    if found.is_empty() { Err(no_match(hosts, pattern, &add)) } else { Ok(found) }
}

/// Keeps (`&`) or drops (`!`) what the rest of `term` matches. A host whose very name begins with that character is
/// itself, and is added.
fn narrow(groups: &Groups, term: &str, keep: bool, found: &mut Vec<usize>) -> Result<()> {
    if let Some(host) = groups.host(term) {
        found.push(host);
        return Ok(());
    }
    let that: HashSet<usize> = matches(groups, term.get(1..).unwrap_or_default())?.into_iter().collect();
    found.retain(|host| that.contains(host) == keep);
    Ok(())
}

/// The terms of a pattern: between commas when it has any; else the pattern itself when it can be a host or an address
/// (with its ranges and port); else what stands between colons.
fn split(pattern: &str) -> Vec<String> {
    let terms: Vec<&str> = if pattern.contains(',') {
        pattern.split(',').collect()
    } else if address::parse(pattern).is_some() {
        vec![pattern]
    } else {
        return between_colons(pattern);
    };
    terms.into_iter().map(str::trim).filter(|term| !term.is_empty()).map(str::to_owned).collect()
}

/// Runs of characters other than white space, `:`, `[` and `]`, in which a whole `[...]` may stand.
fn between_colons(pattern: &str) -> Vec<String> {
    let mut terms = Vec::new();
    let mut term = String::new();
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let bracket = if c == '[' { rest.find(']').map(|end| end + 1) } else { None };
        let plain = !c.is_whitespace() && !matches!(c, ':' | '[' | ']');
        let length = bracket.unwrap_or(c.len_utf8());
        if plain || bracket.is_some() {
            term.push_str(rest.get(..length).unwrap_or_default());
        } else if !term.is_empty() {
            terms.push(std::mem::take(&mut term));
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    if !term.is_empty() {
        terms.push(term);
    }
    terms
}

/// The lines of a file of names and patterns, as `@retry.txt` names it.
fn from_file(path: &str) -> Result<Vec<String>> {
    let source = crate::inventory::yaml::read(std::path::Path::new(path)).map_err(|problem| {
        Error::inventory(format!("the host pattern `@{path}`: {}", problem.message))
            .help("`@FILE` reads host names from a file, one a line")
    })?;
    Ok(source.text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect())
}

/// A number or a range behind a term.
enum Subscript {
    At(i64),
    /// From and to, the end included; up to the last without one.
    Range(usize, Option<usize>),
}

/// What one term matches, a host perhaps several times: a subscript counts them so.
fn matches(groups: &Groups, term: &str) -> Result<Vec<usize>> {
    if term.is_empty() {
        return Err(
            Error::inventory("a host pattern with nothing behind `!` or `&`").help("write `!group` or `&group`")
        );
    }
    let (expression, subscript) = if term.starts_with('~') { (term, None) } else { subscript(term) };
    let found = enumerate(groups, expression)?;
    let out_of_range = || {
        Error::inventory(format!("the host pattern `{term}` counts past the {} hosts of `{expression}`", found.len()))
            .help("the first is [0], the last [-1]")
    };
    match subscript {
        None => Ok(found),
        Some(_) if found.is_empty() => Ok(found),
        Some(Subscript::At(at)) => {
            let index = if at < 0 { found.len() as i64 + at } else { at };
            let host = usize::try_from(index).ok().and_then(|index| found.get(index));
            host.map(|host| vec![*host]).ok_or_else(out_of_range)
        }
        // Ansible takes an end of 0 for none given: `[0:0]` is the first, `[3:0]` the fourth.
        Some(Subscript::Range(from, Some(0))) => found.get(from).map(|host| vec![*host]).ok_or_else(out_of_range),
        Some(Subscript::Range(from, to)) => {
            let to = to.map_or(found.len(), |to| to.saturating_add(1)).min(found.len());
            Ok(found.get(from..to).unwrap_or_default().to_vec())
        }
    }
}

/// Takes `[1]`, `[-1]`, `[0:2]`, `[1:]` off the end of `term`.
fn subscript(term: &str) -> (&str, Option<Subscript>) {
    let whole = (term, None);
    let Some((head, inside)) = term.strip_suffix(']').and_then(|rest| rest.rsplit_once('[')) else { return whole };
    if head.is_empty() || head.contains('\n') {
        return whole;
    }
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // A number too large for any list matches nothing, as the largest does.
    let number = |text: &str| text.parse::<usize>().unwrap_or(usize::MAX);
    if digits(inside.strip_prefix('-').unwrap_or(inside)) {
        let at = inside.parse::<i64>().unwrap_or(if inside.starts_with('-') { i64::MIN / 2 } else { i64::MAX });
        return (head, Some(Subscript::At(at)));
    }
    match inside.split_once([':', '-']) {
        Some((from, "")) if digits(from) => (head, Some(Subscript::Range(number(from), None))),
        Some((from, to)) if digits(from) && digits(to) => {
            (head, Some(Subscript::Range(number(from), Some(number(to)))))
        }
        _ => whole,
    }
}

/// How names are compared.
enum Matcher {
    Glob(Glob),
    Regex(fancy_regex::Regex),
}

impl Matcher {
    fn new(expression: &str) -> Result<Matcher> {
        let Some(regex) = expression.strip_prefix('~') else { return Ok(Matcher::Glob(Glob::new(expression))) };
        // Python's `match` is bound to the start and free at the end.
        fancy_regex::RegexBuilder::new(&format!(r"\A(?:{regex})"))
            .backtrack_limit(MAX_BACKTRACKS)
            .build()
            .map(Matcher::Regex)
            .map_err(|error| {
                Error::inventory(format!("the host pattern `{expression}` is not a regular expression"))
                    .because(error)
                    .help("after `~` stands a regular expression as Python writes them")
            })
    }

    fn is_match(&self, name: &str) -> bool {
        match self {
            Matcher::Glob(glob) => glob.matches(name),
            Matcher::Regex(regex) => regex.is_match(name).unwrap_or(false),
        }
    }
}

/// The hosts of all groups whose name matches; and, when none does or the expression is more than a plain word, the
/// hosts whose name matches.
fn enumerate(groups: &Groups, expression: &str) -> Result<Vec<usize>> {
    let matcher = Matcher::new(expression)?;
    let mut found = Vec::new();
    let mut any_group = false;
    for (index, group) in groups.groups.iter().enumerate() {
        if matcher.is_match(&group.name) {
            any_group = true;
            found.extend(groups.hosts_of(index));
        }
    }
    if !any_group || expression.starts_with('~') || expression.contains(['.', '?', '*', '[']) {
        let named = groups.hosts.iter().enumerate().filter(|(_, host)| matcher.is_match(&host.name));
        found.extend(named.map(|(index, _)| index));
    }
    if found.is_empty() && LOCALHOST.contains(&expression) {
        // One of the three names stands for whichever of them the inventory has.
        found.extend(groups.hosts.iter().position(|host| LOCALHOST.contains(&host.name.as_str())));
    }
    Ok(found)
}

fn no_match(hosts: &Hosts, pattern: &str, terms: &[&str]) -> Error {
    let error = Error::inventory(format!("no host matches `{pattern}`"));
    let groups = || hosts.groups.groups.iter().map(|group| group.name.as_str());
    let names = || groups().chain(hosts.groups.hosts.iter().map(|host| host.name.as_str()));
    let unknown = terms.iter().filter(|term| !names().any(|name| name == **term));
    if let Some(name) = unknown.filter_map(|term| super::near(term, names())).next() {
        return error.help(format!("did you mean `{name}`?"));
    }
    if hosts.groups.hosts.is_empty() {
        return error.help("the inventory has no hosts yet: add one below `all: hosts:` in hosts.yml");
    }
    let mut shown: Vec<&str> = groups().take(20).collect();
    if groups().count() > shown.len() {
        shown.push("...");
    }
    error.help(format!("the groups are {}; `factory inventory graph` shows all hosts", shown.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_come_apart() {
        for (pattern, want) in [
            ("a,b[1], c[2:3] , d", vec!["a", "b[1]", "c[2:3]", "d"]),
            ("web:db", vec!["web", "db"]),
            ("web:&db:!x", vec!["web", "&db", "!x"]),
            ("web:22", vec!["web:22"]),
            ("2001:db8::1", vec!["2001:db8::1"]),
            ("web[0:2]", vec!["web[0:2]"]),
            ("web[0:2]:db", vec!["web[0:2]", "db"]),
            ("~(web|db).*", vec!["~(web|db).*"]),
            ("a b", vec!["a", "b"]),
            ("", vec![]),
        ] {
            assert_eq!(split(pattern), want, "{pattern}");
        }
    }
}
