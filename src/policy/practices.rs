//! Practices: what every repo's agents are told, and what one repo says instead. Pure: texts in, one text out.
//!
//! A repo's own file overrides the shared one of the same name, section by section; a section begins at a `## heading` and
//! ends before the next one.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::inventory::practices::File;

/// The most that a run is given of the merged text, in bytes. What is longer is not read by any agent.
pub const MAX_BYTES: usize = 1 << 20;

/// A file after merging.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Practice {
    /// Its name.
    pub file: String,
    /// What it says: what stands before the first heading, then section by section.
    pub sections: Vec<Section>,
}

/// What stands below one heading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Section {
    /// The words of its `## heading`; none for what stands before the first one.
    pub heading: Option<String>,
    /// Its text with the heading, without empty lines at either end; empty when it was taken away.
    pub text: String,
    /// Where the text came from, or what took it away.
    pub from: Origin,
    /// What would be there without that.
    pub over: Option<Origin>,
    /// A repo's own section with nothing below its heading takes the shared one away.
    pub removed: bool,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// The path as people see it.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
}

/// For people: `practices/harb/tests.md:3`.
impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.path, self.line)
    }
}

/// Merges a repo's own practices over the shared ones. Files come by name, whatever the order of the input; sections in
/// the order of the shared file, then those that the repo's own file adds, in its order.
///
/// Headings are the same when their words are, in upper or lower case; the same heading twice in a file is two sections,
/// the first of which overrides the first. What stands before the first heading overrides too, unless it is empty. A
/// section of the repo's own with nothing below its heading takes the shared one away, and an empty file the whole file.
pub fn merge(shared: &[File], own: &[File]) -> Vec<Practice> {
    let mut files: BTreeMap<&str, Vec<Section>> = BTreeMap::new();
    for source in shared {
        files.insert(&source.name, sections(source).into_iter().filter(|section| !section.text.is_empty()).collect());
    }
    for source in own {
        let known = files.entry(&source.name).or_default();
        let over = sections(source);
        if over.iter().all(|section| section.heading.is_none() && section.text.is_empty()) {
            let from = Origin { path: source.path.clone(), line: 1 };
            known.iter_mut().for_each(|section| take_away(section, from.clone()));
            continue;
        }
        lay(known, over);
    }
    let files = files.into_iter().map(|(file, sections)| Practice { file: file.to_owned(), sections });
    files.filter(|practice| !practice.sections.is_empty()).collect()
}

/// Lays `over` over the sections of a file.
fn lay(known: &mut Vec<Section>, over: Vec<Section>) {
    let mut met: BTreeMap<Option<String>, usize> = BTreeMap::new();
    for section in over {
        let key = key(&section);
        let nth = met.entry(key.clone()).or_default();
        let below = known.iter_mut().filter(|one| self::key(one) == key).nth(*nth);
        *nth += 1;
        let heads_nothing = section.text.is_empty() || (section.heading.is_some() && !section.text.contains('\n'));
        match below {
            // Nothing before the first heading says nothing.
            _ if section.text.is_empty() => {}
            Some(below) if heads_nothing => take_away(below, section.from),
            Some(below) => *below = Section { over: Some(below.from.clone()), ..section },
            None => known.push(section),
        }
    }
    // A file that had no beginning of its own gets it at its beginning.
    known.sort_by_key(|section| section.heading.is_some());
}

fn take_away(section: &mut Section, by: Origin) {
    section.over = Some(std::mem::replace(&mut section.from, by));
    section.text = String::new();
    section.removed = true;
}

/// What makes two headings the same.
fn key(section: &Section) -> Option<String> {
    let heading = section.heading.as_ref()?;
    Some(heading.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase())
}

/// The sections of one file; the first is what stands before the first heading.
fn sections(source: &File) -> Vec<Section> {
    let section = |heading: Option<&str>, line: usize| Section {
        heading: heading.map(str::to_owned),
        text: String::new(),
        from: Origin { path: source.path.clone(), line },
        over: None,
        removed: false,
    };
    let mut done: Vec<Section> = Vec::new();
    let mut current = section(None, 1);
    let mut fence: Option<(char, usize)> = None;
    // What an editor puts before the first character is no text.
    let text = source.text.strip_prefix('\u{feff}').unwrap_or(&source.text);
    for (at, line) in text.lines().enumerate() {
        let inside = fence.is_some();
        fence = fenced(fence, line);
        let heading = if inside || fence.is_some() { None } else { heading(line) };
        match heading {
            Some(words) => {
                done.push(std::mem::replace(&mut current, section(Some(words), at + 1)));
                current.text.push_str(line.trim());
            }
            None if current.text.is_empty() && line.trim().is_empty() => continue,
            None => {
                if current.text.is_empty() {
                    current.from.line = at + 1;
                } else {
                    current.text.push('\n');
                }
                current.text.push_str(line.trim_end());
            }
        }
    }
    done.push(current);
    for section in &mut done {
        section.text.truncate(section.text.trim_end().len());
    }
    done
}

/// The words of a heading of the second level.
fn heading(line: &str) -> Option<&str> {
    let indent = line.len() - line.trim_start_matches(' ').len();
    let rest = line.trim_start_matches(' ').strip_prefix("##").filter(|_| indent < 4)?;
    (rest.starts_with([' ', '\t'])).then(|| rest.trim().trim_end_matches('#').trim()).filter(|words| !words.is_empty())
}

/// The fence of code that we are in behind this line.
fn fenced(fence: Option<(char, usize)>, line: &str) -> Option<(char, usize)> {
    let text = line.trim();
    let run = |mark: char| text.chars().take_while(|c| *c == mark).count();
    match fence {
        Some((mark, length)) if run(mark) >= length && run(mark) == text.chars().count() => None,
        Some(fence) => Some(fence),
        None => {
            let mark = text.chars().next().filter(|mark| matches!(mark, '`' | '~'))?;
            let info = text.trim_start_matches(mark);
            (run(mark) >= 3 && !(mark == '`' && info.contains('`'))).then(|| (mark, run(mark)))
        }
    }
}

/// The merged practices as one text in Markdown, as a run is given it; with `origin` a comment before each section says
/// where it came from, and one in the place of what was taken away by whom.
pub fn text(practices: &[Practice], origin: bool) -> String {
    let mut parts: Vec<String> = Vec::new();
    for section in practices.iter().flat_map(|practice| &practice.sections) {
        if origin {
            parts.push(comment(section));
        }
        if section.removed {
            continue;
        }
        match parts.last_mut().filter(|_| origin) {
            Some(comment) => {
                comment.push('\n');
                comment.push_str(&section.text);
            }
            None => parts.push(section.text.clone()),
        }
    }
    let mut text = parts.join("\n\n");
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

fn comment(section: &Section) -> String {
    // A path may hold what would end the comment.
    let told = match (&section.over, section.removed) {
        (Some(over), true) => format!("{} takes away {over}", section.from),
        (Some(over), false) => format!("{}, over {over}", section.from),
        (None, _) => section.from.to_string(),
    };
    format!("<!-- {} -->", told.replace("--", "-\u{200b}-"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn source(path: &str, text: &str) -> File {
        let name = path.rsplit('/').next().unwrap().to_owned();
        File { name, path: path.to_owned(), text: text.to_owned() }
    }

    const SHARED: &str =
        "# Pulls\n\nAll of us.\n\n## Size\n\nSmall.\n\n## Tests\n\nAlways.\n\n```\n## no heading\n```\n";

    #[test]
    fn a_repo_overrides_by_file_and_heading_and_every_section_knows_where_it_came_from() {
        let shared = [source("practices/pulls.md", SHARED), source("practices/a.md", "Be kind.\n")];
        let own = [
            source("practices/harb/pulls.md", "\n## tests ##\n\nAt night.\n\n## Release\nNever.\n"),
            source("practices/harb/z.md", "# Z\n"),
        ];
        let merged = merge(&shared, &own);
        assert_eq!(
            text(&merged, false),
            "Be kind.\n\n# Pulls\n\nAll of us.\n\n## Size\n\nSmall.\n\n## tests ##\n\nAt night.\n\n## Release\nNever.\n\n# Z\n"
        );
        let origins: Vec<String> =
            text(&merged, true).lines().filter(|l| l.starts_with("<!--")).map(Into::into).collect();
        assert_eq!(
            origins,
            [
                "<!-- practices/a.md:1 -->",
                "<!-- practices/pulls.md:1 -->",
                "<!-- practices/pulls.md:5 -->",
                "<!-- practices/harb/pulls.md:2, over practices/pulls.md:9 -->",
                "<!-- practices/harb/pulls.md:6 -->",
                "<!-- practices/harb/z.md:1 -->"
            ]
        );
    }

    #[test]
    fn a_heading_with_nothing_below_takes_the_shared_section_away_and_an_empty_file_all_of_it() {
        let shared = [source("practices/pulls.md", SHARED)];
        let merged = merge(&shared, &[source("practices/harb/pulls.md", "## Size\n\n## Tests\nSome.\n")]);
        assert_eq!(text(&merged, false), "# Pulls\n\nAll of us.\n\n## Tests\nSome.\n");
        assert!(text(&merged, true).contains("<!-- practices/harb/pulls.md:1 takes away practices/pulls.md:5 -->\n\n"));
        let merged = merge(&shared, &[source("practices/harb/pulls.md", " \n")]);
        assert_eq!(text(&merged, false), "");
        assert!(
            text(&merged, true).starts_with("<!-- practices/harb/pulls.md:1 takes away practices/pulls.md:1 -->\n")
        );
    }

    #[test]
    fn what_stands_before_the_first_heading_overrides_too_and_comes_first() {
        let own = [source("o/x.md", "Ours.\n\n## B\nb\n")];
        assert_eq!(
            text(&merge(&[source("s/x.md", "Theirs.\n## A\na\n")], &own), false),
            "Ours.\n\n## A\na\n\n## B\nb\n"
        );
        assert_eq!(text(&merge(&[source("s/x.md", "## A\na\n")], &own), false), "Ours.\n\n## A\na\n\n## B\nb\n");
        assert_eq!(merge(&[], &[]), []);
    }

    #[test]
    fn the_same_heading_twice_is_two_sections() {
        let merged = merge(&[source("s/x.md", "## A\n1\n## A\n2\n")], &[source("o/x.md", "## A\n3\n")]);
        assert_eq!(text(&merged, false), "## A\n3\n\n## A\n2\n");
    }

    #[test]
    fn headings_of_other_levels_and_in_code_begin_no_section() {
        let body = "# One\n### Three\n~~~\n## Code\n~~~\n    ## Indented\n##None\n";
        let merged = merge(&[source("s/x.md", body)], &[]);
        assert_eq!((merged[0].sections.len(), merged[0].sections[0].heading.as_deref()), (1, None));
        let windows = merge(&[source("s/x.md", "\u{feff}## A\r\na\r\n\r\n## B\r\nb\r\n")], &[]);
        assert_eq!(text(&windows, false), "## A\na\n\n## B\nb\n");
    }

    fn any_text() -> impl Strategy<Value = String> {
        let line = proptest::sample::select(vec!["", "# T", "## A", "## a", "## B", "text", "more", "```", " ## C ##"]);
        proptest::collection::vec(line, 0..12).prop_map(|lines| lines.join("\n"))
    }

    proptest! {
        #[test]
        fn every_section_of_a_repo_that_says_something_is_in_and_nothing_twice(shared in any_text(), own in any_text()) {
            let (shared, own) = ([source("s/x.md", &shared)], [source("o/x.md", &own)]);
            let merged = merge(&shared, &own);
            let all: Vec<&Section> = merged.iter().flat_map(|one| &one.sections).collect();
            for section in sections(&own[0]).iter().filter(|section| section.text.contains('\n')) {
                prop_assert_eq!(all.iter().filter(|one| one.from == section.from && one.text == section.text).count(), 1);
            }
            prop_assert!(all.iter().all(|section| section.removed == section.text.is_empty()));
            // Over itself a text stays as it is, where it takes nothing away.
            if sections(&shared[0]).iter().all(|one| one.heading.is_none() || one.text.contains('\n')) {
                let once = text(&merge(&shared, &[]), false);
                if !once.is_empty() {
                    prop_assert_eq!(text(&merge(&shared, &shared), false), once);
                }
            }
        }
    }
}
