//! Whether every host gave a whole answer. A bench that measures failures is worth nothing.

use std::collections::BTreeMap;
use std::path::Path;

use factory::remote::probe;

/// The form in which a peer leaves its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Samples of this program, one a line.
    Samples,
    /// One file a host, each what the probe printed.
    Files,
    /// pyinfra's stderr: each line behind `[HOST]`.
    Prefixed,
    /// Ansible's `minimal` output: `HOST | CHANGED | rc=0 >>`, then what the probe printed.
    Headed,
    /// Ansible's facts: `HOST | SUCCESS => {`.
    Facts,
}

/// How many hosts answered whole, of the answers in the directory `out`.
pub fn whole(form: Form, out: &Path) -> usize {
    let read = |name: &str| String::from_utf8_lossy(&std::fs::read(out.join(name)).unwrap_or_default()).into_owned();
    let stdout = || read("stdout");
    match form {
        Form::Samples => samples(&stdout()),
        Form::Files => {
            let files = std::fs::read_dir(out.join("answers")).into_iter().flatten().flatten();
            files.filter(|file| std::fs::read(file.path()).is_ok_and(|bytes| is_whole(&bytes))).count()
        }
        Form::Prefixed => count(prefixed(&read("stderr"))),
        Form::Headed => count(headed(&stdout())),
        Form::Facts => facts(&stdout()),
    }
}

fn count(answers: BTreeMap<String, String>) -> usize {
    answers.values().filter(|answer| is_whole(answer.as_bytes())).count()
}

/// The same as the program asks of a sample: memory, boot id, uptime, the states of all runs.
fn is_whole(answer: &[u8]) -> bool {
    probe::parse(answer).is_ok_and(|report| {
        report.mem.and_then(|mem| mem.available).is_some() && report.boot_id.is_some() && report.uptime_s.is_some()
    })
}

fn samples(text: &str) -> usize {
    let whole = |line: &str| {
        let sample: serde_json::Value = serde_json::from_str(line).ok()?;
        let there = sample.get("missing").is_none() && sample.pointer("/mem/available").is_some();
        let known = sample.get("boot_id").is_some() && sample.get("uptime_s").is_some();
        (there && known).then(|| sample.get("host").map(ToString::to_string))?
    };
    text.lines().filter_map(whole).collect::<std::collections::BTreeSet<String>>().len()
}

fn prefixed(text: &str) -> BTreeMap<String, String> {
    let mut answers: BTreeMap<String, String> = BTreeMap::new();
    for line in text.lines() {
        let Some((host, rest)) = line.trim_start().strip_prefix('[').and_then(|line| line.split_once("] ")) else {
            continue;
        };
        let answer = answers.entry(host.to_owned()).or_default();
        answer.push_str(rest);
        answer.push('\n');
    }
    answers
}

fn headed(text: &str) -> BTreeMap<String, String> {
    let mut answers: BTreeMap<String, String> = BTreeMap::new();
    let mut host = None;
    for line in text.lines() {
        if let Some((name, rest)) = line.split_once(" | ")
            && rest.ends_with(" >>")
        {
            host = Some(name.to_owned());
        } else if let Some(host) = &host {
            let answer = answers.entry(host.clone()).or_default();
            answer.push_str(line);
            answer.push('\n');
        }
    }
    answers
}

fn facts(text: &str) -> usize {
    let begun = text.lines().filter(|line| line.ends_with(" | SUCCESS => {")).count();
    // The fact that comes from the same file as ours.
    begun.min(text.matches("\"ansible_memtotal_mb\": ").count())
}
