//! The probe's parser against real output, and against the same output damaged.

use factory::remote::probe::{self, Garbled, Report};
use factory::remote::sample::{Heard, Sample};
use proptest::prelude::*;
use serde_json::Value;

/// Outputs of the program, as they came from hosts: by name.
const FIXTURES: [(&str, &[u8]); 10] = [
    ("debian-dash", include_bytes!("fixtures/probe/debian-dash.txt")),
    ("debian-bash", include_bytes!("fixtures/probe/debian-bash.txt")),
    ("busybox", include_bytes!("fixtures/probe/busybox.txt")),
    ("busybox-old-kernel", include_bytes!("fixtures/probe/busybox-old-kernel.txt")),
    ("no-psi", include_bytes!("fixtures/probe/no-psi.txt")),
    ("old-kernel", include_bytes!("fixtures/probe/old-kernel.txt")),
    ("disks", include_bytes!("fixtures/probe/disks.txt")),
    ("dead-mount", include_bytes!("fixtures/probe/dead-mount.txt")),
    ("home-in-use", include_bytes!("fixtures/probe/home-in-use.txt")),
    ("runs", include_bytes!("fixtures/probe/runs.txt")),
];

fn sample(report: Report) -> Sample {
    let sent = "2026-11-22T00:00:00Z".parse().unwrap();
    let received = "2026-11-22T00:00:01Z".parse().unwrap();
    let rtt = std::time::Duration::from_millis(21);
    // The fixtures' clocks are those of the day when they were taken.
    let mut sample = Sample::from_report("box", Heard { sent, received, rtt }, report);
    sample.clock_skew_s = None;
    sample
}

#[test]
fn real_output_becomes_these_samples() {
    for (name, output) in FIXTURES {
        let sample = sample(probe::parse(output).unwrap());
        assert_eq!(sample.is_whole(), name != "busybox-old-kernel", "{name}: {:?}", sample.lacks());
        insta::assert_snapshot!(name, serde_json::to_string_pretty(&sample).unwrap());
    }
}

#[test]
fn a_cut_answer_is_no_answer() {
    for (name, output) in FIXTURES {
        let whole = probe::parse(output).unwrap();
        for cut in 0..output.len() {
            match probe::parse(&output[..cut]) {
                Ok(report) => {
                    assert_eq!(cut, output.len() - 1, "{name}: believed when cut at byte {cut}");
                    assert_eq!(report, whole, "{name}");
                }
                Err(error) => assert!(matches!(error, Garbled::Cut | Garbled::NoBegin(_)), "{name} at {cut}: {error}"),
            }
        }
    }
}

/// All numbers of a sample, by where they stand; of disks by path, since a damaged line may add one to the list.
fn numbers(value: &Value, at: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::Number(number) => found.push((at.to_owned(), number.to_string())),
        Value::Array(list) => {
            for (i, item) in list.iter().enumerate() {
                let name = item.get("path").and_then(Value::as_str).map_or_else(|| i.to_string(), Into::into);
                numbers(item, &format!("{at}/{name}"), found);
            }
        }
        Value::Object(map) => map.iter().for_each(|(key, item)| numbers(item, &format!("{at}/{key}"), found)),
        _ => {}
    }
}

fn numbers_of(report: Report) -> Vec<(String, String)> {
    let mut found = Vec::new();
    numbers(&serde_json::to_value(sample(report)).unwrap(), "", &mut found);
    found
}

/// Lines whose content is a name: one damaged name is another name.
fn is_name(line: &[u8]) -> bool {
    [&b"path"[..], b"home ", b"halt ", b"hold ", b"run "].iter().any(|key| line.starts_with(key))
}

#[test]
fn a_byte_that_cannot_stand_in_a_number_never_makes_another_number() {
    for (name, output) in FIXTURES {
        let undamaged = probe::parse(output).unwrap();
        let whole = numbers_of(undamaged.clone());
        for at in 0..output.len() {
            let begin = output[..at].iter().rposition(|b| *b == b'\n').map_or(0, |newline| newline + 1);
            if is_name(&output[begin..]) {
                continue;
            }
            // Three of them at each byte: over all fixtures each meets each kind of line.
            let garbage = [b'?', b',', b'\n', b'\r', b'\t', 0, 0x1b, 0xff];
            for garbage in (0..3).map(|n| garbage[(at + 3 * n) % 8]) {
                let mut damaged = output.to_vec();
                damaged[at] = garbage;
                let Ok(report) = probe::parse(&damaged) else { continue };
                if report == undamaged {
                    continue;
                }
                for (place, number) in numbers_of(report) {
                    let same = whole.iter().any(|(other, value)| *other == place && *value == number);
                    // A damaged name of a device may show the home's disk apart, with its own true numbers.
                    let apart = place.starts_with("/disks/") && !whole.iter().any(|(other, _)| *other == place);
                    assert!(same || apart, "{name}: byte {at} as {garbage:#x} makes {place} {number}");
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn nothing_makes_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = probe::parse(&bytes);
        let framed = [b"begin factory-probe 1\n", bytes.as_slice(), b"\nend\n"].concat();
        let _ = probe::parse(&framed);
    }

    #[test]
    fn nor_do_damaged_lines(
        fixture in 0..FIXTURES.len(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..8),
    ) {
        let mut output = FIXTURES[fixture].1.to_vec();
        for (at, byte, how) in edits {
            let at = at.index(output.len());
            match how {
                0 => output[at] = byte,
                1 => output.insert(at, byte),
                _ => drop(output.remove(at)),
            }
        }
        let _ = probe::parse(&output);
    }

    #[test]
    fn lines_of_any_value_never_panic(key in "(meminfo|df_k|df_i|path|psi_cpu|stat|halt|hold|run|runs|free|epoch|vmstat|loadavg|spec|started|over|stop|oom|tree|last|file|matched|running)", value in "[ -~]{0,60}", n in any::<u64>()) {
        let text = format!("begin factory-probe 1\npath 0 /\n{key} {value}\n{key} {n} {value} {n} {n} {n} {n}% /\nend\n");
        let _ = probe::parse(text.as_bytes());
    }

    /// What an agent prints, and what stands in a command line, is one value of one line, whatever it is.
    #[test]
    fn no_text_of_an_agent_changes_what_else_is_told(text in "[^\\n]{0,80}", forged in FORGED) {
        let answer = |text: &str| {
            let lines = format!(
                "begin factory-probe 1\nclock_start 1795675355.5\nuptime 10.00 1.00\nrun 20261126-a RUNNING\nruns 1\n\
                 tree 20261126-a 3 2048 5\nlast 20261126-a/out.log {text}\n\
                 matched dev 7 5 7 0 2 1024 5 {text}\nrunning dev 1\nclock_end 1795675356.5\nend\n");
            probe::parse(lines.as_bytes()).unwrap()
        };
        for text in [text, forged] {
            let mut told = answer(&text);
            for run in told.runs.iter_mut().flatten() {
                let last = run.last.take().unwrap_or_default();
                run.said = None;
                prop_assert!(last.chars().count() <= 200 && !last.chars().any(char::is_control), "{:?}", last);
            }
            for one in told.matched.iter_mut().flatten() {
                let command = std::mem::take(&mut one.command);
                prop_assert!(command.chars().count() <= 200 && !command.chars().any(char::is_control), "{:?}", command);
            }
            let mut plain = answer("x");
            plain.runs.iter_mut().flatten().for_each(|run| (run.last, run.said) = (None, None));
            plain.matched.iter_mut().flatten().for_each(|one| one.command.clear());
            prop_assert_eq!(told, plain);
        }
    }
}

/// Lines of the answer itself.
const FORGED: &str =
    "(end|begin factory-probe 1|run 20261126-b DONE 0|runs 0|refused x|tree 20261126-a 9 9 9|\r|\u{85}|\u{2028})";
