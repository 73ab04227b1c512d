//! Files that would fill the memory, never end or break the parser: refused, or read, in bounded time, and told with
//! their place.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use factory::error::{Diagnostics, Level};
use factory::inventory::hosts::Hosts;
use factory::inventory::yaml;
use proptest::prelude::*;

/// Far above what any of these needs, far below what an unbounded one would take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Peak memory of this process may grow by so much, in KiB, for any one of them.
const MEMORY: u64 = 512 << 10;

/// One file at a time, since memory is measured for the whole process.
static ALONE: Mutex<()> = Mutex::new(());

/// A line of this process's status, in KiB; 0 where there is none.
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

struct Case {
    folder: tempfile::TempDir,
}

impl Case {
    fn new(hosts: impl AsRef<[u8]>) -> Case {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("hosts.yml"), hosts).unwrap();
        Case { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("hosts.yml")
    }

    /// Loads it; whether it was usable, and the errors as `line:column message`.
    fn load(&self) -> (Option<Hosts>, Vec<String>) {
        let mut problems = Diagnostics::default();
        let alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // Sets the peak back to what is used now.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        let (start, before) = (Instant::now(), memory("VmRSS:"));
        let hosts = Hosts::load(&self.path(), &mut problems);
        let (took, grown) = (start.elapsed(), memory("VmHWM:").saturating_sub(before));
        drop(alone);
        assert!(took < PATIENCE, "took {took:?}");
        assert!(grown < MEMORY, "took {grown} KiB");
        let told = problems
            .iter()
            .filter(|problem| problem.level == Level::Error)
            .map(|problem| match &problem.place {
                Some(place) => format!("{}:{} {}", place.span.line, place.span.column, problem.message),
                None => problem.message.replace(&self.path().display().to_string(), "hosts.yml"),
            })
            .collect();
        check_places(&problems);
        (hosts, told)
    }

    /// The one error of a file that is refused.
    fn refused(&self) -> String {
        let (hosts, told) = self.load();
        assert!(hosts.is_none(), "accepted");
        assert_eq!(told.len(), 1, "{told:?}");
        told[0].clone()
    }
}

/// Every span lies in its text, and its line and column say the same as its bytes.
fn check_places(problems: &Diagnostics) {
    for problem in problems.iter() {
        let Some(place) = &problem.place else { continue };
        let (text, span) = (&place.source.text, place.span);
        assert!(span.start <= span.end && span.end <= text.len(), "{span:?} of {}: {}", text.len(), problem.message);
        assert!(text.is_char_boundary(span.start) && text.is_char_boundary(span.end), "{span:?}: {}", problem.message);
        assert!(span.line >= 1 && span.column >= 1, "{span:?}: {}", problem.message);
    }
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let alias = format!("*a{}, ", level - 1).repeat(10);
        text += &format!("a{level}: &a{level} [{alias}]\n");
    }
    let told = Case::new(&text).refused();
    assert!(told.starts_with("7:9 more than 2000000 values"), "{told}");
}

#[test]
fn a_bomb_of_merge_keys_is_refused() {
    let keys: String = (0..2000).map(|key| format!("k{key}: 1, ")).collect();
    let text = format!("all:\n  vars:\n    a: &a {{{keys}}}\n    b: {{<<: [{}]}}\n", "*a, ".repeat(100_000));
    let told = Case::new(text).refused();
    assert!(told.starts_with("4:13 more than 2000000 values"), "{told}");
}

#[test]
fn a_file_of_100_mb_is_refused_without_being_read() {
    let case = Case::new("all:\n");
    std::fs::File::options().write(true).open(case.path()).unwrap().set_len(100 << 20).unwrap();
    assert_eq!(case.refused(), "hosts.yml is larger than 8 MiB");
}

#[test]
fn deep_nesting_is_refused() {
    for text in [
        format!("all: {}", "[".repeat(10_000)),
        format!("all: {}{}", "[".repeat(10_000), "]".repeat(10_000)),
        format!("all: {}", "{a: ".repeat(10_000)),
        (0..10_000).map(|depth| format!("{}a:\n", " ".repeat(depth.min(700)))).collect(),
        (0..2000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect(),
        format!("all: {}x", "- ".repeat(10_000)),
        format!("{}x", "- ".repeat(10_000)),
        format!("{}x", "? ".repeat(10_000)),
        "{\"a\":".repeat(10_000),
    ] {
        let told = Case::new(&text).refused();
        let (place, _) = told.split_once(' ').unwrap();
        assert!(place.contains(':'), "{told}");
    }
}

#[test]
fn nesting_through_aliases_is_refused() {
    let open = 100;
    let mut text = "a0: &a0 x\n".to_owned();
    for level in 1..50 {
        text += &format!("a{level}: &a{level} {}*a{}{}\n", "[".repeat(open), level - 1, "]".repeat(open));
    }
    let told = Case::new(text).refused();
    assert!(told.contains("nested deeper than 255 levels"), "{told}");
}

#[test]
fn a_nul_and_bytes_that_are_no_text_are_refused_with_their_place() {
    assert_eq!(Case::new("all:\n  hösts: \0\n").refused(), "2:10 a NUL character in a text file");
    assert_eq!(Case::new(b"all:\n  hosts: \xff\n").refused(), "2:10 not UTF-8");
    assert_eq!(Case::new(b"\xff\xfea\0l\0l\0").refused(), "1:1 not UTF-8");
}

#[test]
fn a_key_that_stands_twice_is_refused() {
    for (text, want) in [
        ("all:\n  hosts:\n    a:\n    b:\n    a:\n", "5:5 the key `a` stands twice"),
        ("all:\n  vars: {x: 1, \"x\": 2}\n", "2:16 the key `x` stands twice"),
        ("{\"all\": {\"vars\": {\"x\": 1,\n \"x\": 2}}}\n", "2:2 the key `x` stands twice"),
        ("all:\n  vars: {v: {yes: 1, true: 2}}\n", "2:22 the key `true` stands twice"),
    ] {
        assert_eq!(Case::new(text).refused(), want);
    }
}

#[test]
fn an_alias_of_itself_and_an_unknown_alias_are_refused() {
    let told = Case::new("all:\n  vars: &v {again: *v}\n").refused();
    assert!(told.starts_with("2:20 "), "{told}");
    let told = Case::new("all:\n  vars: {x: *nothing}\n").refused();
    assert!(told.starts_with("2:13 "), "{told}");
}

#[test]
fn a_million_keys_are_read_or_refused() {
    let flat: String = (0..200_000).map(|key| format!("    k{key}: \n")).collect();
    // Beyond ASCII, where characters and bytes are counted apart.
    let (hosts, told) = Case::new(format!("all:\n  hosts: {{hö: }}\n  vars:\n{flat}")).load();
    assert_eq!(hosts.unwrap_or_else(|| panic!("{told:?}")).get("hö").unwrap().vars.len(), 200_000);
    // Over the size of a file, whatever it holds.
    let flat: String = (0..1_000_000).map(|key| format!("k{key}: 1\n")).collect();
    assert_eq!(Case::new(flat).refused(), "hosts.yml is larger than 8 MiB");
    let many = format!("[{}]", "1,".repeat(4_000_000));
    assert!(Case::new(many).refused().contains("more than 2000000 values"));
}

#[test]
fn a_few_lines_cannot_ask_for_more_hosts_than_there_is_memory() {
    for (text, want) in [
        ("all: {hosts: {\"n[0:999999999]\": }}", "the ranges stand for more than 100000 hosts"),
        ("all: {hosts: {\"n[0:99][0:99][0:99]\": }}", "the ranges stand for more than 100000 hosts"),
        ("all: {hosts: {\"a[1:60000]\": , \"b[1:60000]\": }}", "more than 100000 hosts"),
    ] {
        let told = Case::new(text).refused();
        assert!(told.contains(want), "{told}");
    }
    let vars: String = (0..1000).map(|key| format!("v{key}: 1, ")).collect();
    let told = Case::new(format!("all: {{hosts: {{\"n[1:90000]\": {{{vars}}}}}}}")).refused();
    assert!(told.contains("more than 2000000 hosts and host variables"), "{told}");
    let told = Case::new(format!("all: {{vars: {{{vars}}}, hosts: {{\"n[1:90000]\": }}}}")).refused();
    assert!(told.contains("more than 1000000 values"), "{told}");
}

#[test]
fn groups_within_groups_stay_bounded() {
    // Each group holds both of the next level: 2^40 ways down.
    let mut text = String::new();
    for level in 0..40 {
        let next = level + 1;
        text += &format!(
            "a{level}: {{children: {{a{next}: , b{next}: }}}}\nb{level}: {{children: {{a{next}: , b{next}: }}}}\n"
        );
    }
    text += "a40: {hosts: {h: }}\n";
    let (hosts, told) = Case::new(text).load();
    let hosts = hosts.unwrap_or_else(|| panic!("{told:?}"));
    assert_eq!(hosts.select("a0").unwrap().len(), 1);
    let start = Instant::now();
    assert!(hosts.graph().lines().count() <= 1_000_100);
    assert!(start.elapsed() < PATIENCE);
    let chain: String = (0..2000).map(|level| format!("g{level}: {{children: {{g{}: }}}}\n", level + 1)).collect();
    let (hosts, told) = Case::new(chain).load();
    assert!(hosts.is_none() && told[0].contains("lies too deep"), "{told:?}");
    let (hosts, told) = Case::new("a: {children: {b: }}\nb: {children: {c: }}\nc: {children: {a: }}\n").load();
    assert!(
        hosts.is_none() && told == ["3:16 groups contain one another in a circle: `a` > `b` > `c` > `a`"],
        "{told:?}"
    );
}

#[cfg(unix)]
#[test]
fn a_pipe_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hosts.yml");
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let mut problems = Diagnostics::default();
    assert!(Hosts::load(&path, &mut problems).is_none());
    assert!(problems.iter().next().unwrap().message.contains("not a regular file"));
}

#[cfg(unix)]
#[test]
fn links_in_a_circle_end() {
    let case = Case::new("all: {hosts: {h: }}\n");
    let folder = case.folder.path().join("group_vars/all");
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["one", "two"] {
        std::os::unix::fs::symlink(&folder, folder.join(name)).unwrap();
    }
    std::fs::write(folder.join("x.yml"), "a: 1\n").unwrap();
    let (hosts, told) = case.load();
    assert_eq!(hosts.unwrap().get("h").unwrap().vars["a"], 1, "{told:?}");
}

#[test]
fn templates_cannot_run_away() {
    let mut vars = "v0: xxxxxxxxxx, ".to_owned();
    for level in 1..60 {
        let inner = format!("{{{{ v{0} }}}}{{{{ v{0} }}}}", level - 1).repeat(5);
        vars += &format!("v{level}: \"{inner}\", ");
    }
    for host in ["{{ v59 }}", "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}"] {
        let (hosts, told) = Case::new(format!("all: {{hosts: {{h: {{{vars} ansible_host: \"{host}\"}}}}}}")).load();
        assert!(hosts.unwrap().get("h").unwrap().problem, "{told:?}");
        assert!(told[0].contains("the template in `ansible_host`"), "{told:?}");
    }
}

/// Pieces that make a document interesting more often than random characters do.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "all",
        "hosts",
        "children",
        "vars",
        "web",
        ":",
        ": ",
        ":\n",
        "\n",
        "\n  ",
        "\n    ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ",",
        "&a ",
        "*a",
        "<<: ",
        "!vault ",
        "!!int ",
        "|",
        ">",
        "\"",
        "'",
        "#",
        "\t",
        "é",
        "\u{85}",
        "\u{feff}",
        "[1:3]",
        "\"n[a:c]:22\"",
        "ansible_host",
        "ansible_password: x",
        "factory_slots: ",
        "factory_slot: ",
        "{{ x }}",
        "\"{{ a }}\"",
        "1:30",
        "0x",
        "2026-02-30",
        "~",
        "?",
        "---",
        "...",
        "%YAML 1.1",
        "=",
        "!",
        "\r\n",
        "\\",
        "🚀",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|parts| parts.concat())
}

fn load_bytes(bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hosts.yml");
    std::fs::write(&path, bytes).unwrap();
    std::fs::create_dir(folder.path().join("group_vars")).unwrap();
    std::fs::write(folder.path().join("group_vars/all.yml"), bytes).unwrap();
    let mut problems = Diagnostics::default();
    if let Some(hosts) = Hosts::load(&path, &mut problems) {
        let _ = (hosts.list_json(), hosts.graph(), hosts.select("all:!x"));
    }
    check_places(&problems);
    for problem in problems.iter() {
        let _ = factory::render::diagnostic::diagnostic(problem, factory::render::diagnostic::Style::PLAIN);
    }
    check_nodes(&path);
}

fn check_nodes(path: &Path) {
    fn check(node: &yaml::Node, text: &str) {
        assert!(text.get(node.span.start..node.span.end).is_some(), "{:?} of {:?}", node.span, text);
        match &node.value {
            yaml::Value::Scalar { .. } => {}
            yaml::Value::Sequence(items) => items.iter().for_each(|item| check(item, text)),
            yaml::Value::Mapping(entries) => entries.iter().for_each(|(key, value)| {
                check(key, text);
                check(value, text);
            }),
        }
    }
    let Ok(source) = yaml::read(path) else { return };
    for parsed in [yaml::parse(&source), yaml::parse_ansible(&source)] {
        match parsed {
            Ok(Some(root)) => check(&root, &source.text),
            Ok(None) => {}
            Err(problem) => {
                let mut problems = Diagnostics::default();
                problems.push(problem);
                check_places(&problems);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_break_the_loader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        load_bytes(&bytes);
    }

    #[test]
    fn no_text_breaks_the_loader(text in "\\PC{0,80}") {
        load_bytes(text.as_bytes());
    }

    #[test]
    fn no_document_breaks_the_loader(text in pieces()) {
        load_bytes(text.as_bytes());
    }

    #[test]
    fn no_inventory_breaks_the_loader(tail in pieces()) {
        load_bytes(format!("all:\n  hosts:\n    a: {{x: 1}}\n    {tail}").as_bytes());
    }

    #[test]
    fn no_pattern_breaks_the_selection(pattern in "[a-c!&:,~*?\\[\\]0-2 @-]{0,12}|\\PC{0,10}") {
        let case = Case::new("all: {hosts: {a: , b1: }, children: {c: {hosts: {\"c[0:2]\": }}}}\n");
        let (hosts, _) = case.load();
        let hosts = hosts.unwrap();
        if let Ok(found) = hosts.select(&pattern) {
            prop_assert!(!found.is_empty());
            let mut names: Vec<&str> = found.iter().map(|host| host.name.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            prop_assert_eq!(names.len(), found.len());
        }
    }
}
