//! Recorded samples through the ladder, as a user would tune it.

use serde_json::{Value, json};

use super::support::Place;

/// A sample of a host of 8 GiB, `second` seconds after noon, with so much memory available and so many dev agents.
fn sample(host: &str, second: u64, available_mib: u64, dev: u64) -> Value {
    let at = jiff::Timestamp::from_second(1_773_316_800 + second as i64).unwrap();
    json!({ "v": 1, "kind": "sample", "host": host, "at": at.to_string(), "boot_id": "b0", "uptime_s": 1000.0 + second as f64,
            "mem": { "total": 8192_u64 << 20, "available": available_mib << 20 }, "running": { "dev": dev }, "runs": [] })
}

fn missing(host: &str, second: u64) -> Value {
    let at = jiff::Timestamp::from_second(1_773_316_800 + second as i64).unwrap();
    json!({ "v": 1, "kind": "sample", "host": host, "at": at.to_string(), "missing": "connect timed out after 10 s" })
}

/// A place with these samples in `samples.jsonl`.
fn place(samples: &[Value]) -> Place {
    let place = Place::this_machine();
    // By the numbers that everybody begins with.
    place.write("factory.yml", "{}\n");
    let text: String = samples.iter().map(|sample| format!("{sample}\n")).collect();
    std::fs::write(place.path("samples.jsonl"), text).unwrap();
    place
}

fn lines(place: &Place, args: &[&str]) -> Vec<Value> {
    let words: Vec<&str> = ["replay", "samples.jsonl", "-o", "jsonl"].iter().chain(args).copied().collect();
    let stdout = place.run(&words).code(0).stdout;
    stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Memory leaks and is freed again, a sample each 20 s.
fn leak() -> Vec<Value> {
    let available = |second: u64| match second {
        0..60 => 2500,
        60..120 => 1100,
        120..300 => 600,
        300..420 => 250,
        _ => 6000,
    };
    (0..80)
        .map(|n| n * 20)
        .map(|second| sample("beefy-2", second, available(second), u64::from(second < 340)))
        .collect()
}

#[test]
fn a_leak_is_held_stopped_and_released_in_order() {
    let place = place(&leak());
    let lines = lines(&place, &[]);
    let (summary, lines) = lines.split_last().unwrap();
    assert_eq!(lines.len(), 80);
    let told: Vec<String> = lines
        .iter()
        .flat_map(|line| line["actions"].as_array().unwrap().iter().map(|action| action.as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(
        told,
        [
            "dev RUN to HOLD",
            "review RUN to HOLD",
            "dev HOLD to STOP",
            "stop a dev agent",
            "stop a dev agent",
            "stop a dev agent",
            "stop a dev agent",
            "review HOLD to STOP",
            "review STOP to HOLD",
            "dev STOP to HOLD",
            "review HOLD to RUN",
            "dev HOLD to RUN"
        ]
    );
    let first = &lines[0];
    assert_eq!(
        (&first["v"], &first["kind"], &first["host"], &first["dev"], &first["review"], &first["survive"]),
        (&json!(1), &json!("replay"), &json!("beefy-2"), &json!("RUN"), &json!("RUN"), &json!(false))
    );
    assert_eq!(lines[7]["severity"], json!({ "mem": 2 }));
    let reasons: Vec<&str> = lines.iter().map(|line| line["reason"].as_str().unwrap()).collect();
    assert!(reasons[7].contains("memory 600MiB free, below 655.4MiB") && reasons[7].contains("dev back to HOLD after"));
    let totals = &summary["hosts"]["beefy-2"];
    assert_eq!((&totals["samples"], &totals["missed"], &totals["stops"]), (&json!(80), &json!(0), &json!(4)));
    let spent: f64 =
        ["dev RUN", "dev HOLD", "dev STOP"].iter().filter_map(|rung| totals["seconds"][rung].as_f64()).sum();
    assert_eq!(spent, 79.0 * 20.0, "all observed time is on some rung: {totals}");
}

#[test]
fn other_numbers_give_another_course_and_hosts_do_not_meet() {
    let mut samples = leak();
    samples.extend((0..10).map(|n| sample("quiet", n * 60, 7000, 2)));
    samples.extend((10..14).map(|n| missing("quiet", n * 60)));
    samples.push(sample("quiet", 14 * 60, 7000, 2));
    let place = place(&samples);
    // Never soft, hard or crit.
    place.write(
        "trial.yml",
        "policy: {mem: {enter: {soft: {percent: 1%, bytes: 64MiB}, hard: {percent: 0.5%, bytes: 32MiB}, crit: {percent: 0.2%, bytes: 16MiB}}}}\n",
    );
    let lines = lines(&place, &["--policy", "inventory/trial.yml"]);
    let (summary, lines) = lines.split_last().unwrap();
    let told: Vec<(&str, &Value)> = lines
        .iter()
        .filter(|line| line["actions"] != json!([]))
        .map(|line| (line["host"].as_str().unwrap(), &line["actions"]))
        .collect();
    assert_eq!(
        told,
        [("quiet", &json!(["unreachable"])), ("quiet", &json!(["dev RUN to HOLD"]))],
        "silence moves nothing, and who was away comes back held"
    );
    assert_eq!(
        (&summary["hosts"]["quiet"]["missed"], &summary["hosts"]["beefy-2"]["transitions"]),
        (&json!(4), &json!(0))
    );
}

#[test]
fn what_was_missed_while_nobody_answered_holds_nobody() {
    let cut = |host: &str, second: u64| {
        let mut sample = missing(host, second);
        sample["cut_off"] = true.into();
        sample
    };
    let course = |miss: &dyn Fn(&str, u64) -> Value| {
        let seconds = (0..15).map(|n| n * 60);
        let one = |second: u64| {
            ["a", "b"].map(|host| match second {
                300..600 => miss(host, second),
                _ => sample(host, second, 6000, 1),
            })
        };
        let place = place(&seconds.flat_map(one).collect::<Vec<_>>());
        let lines = lines(&place, &[]);
        let actions = lines.iter().filter_map(|line| line["actions"].as_array());
        actions.flatten().map(|action| action.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(course(&cut), Vec::<String>::new());
    let all = course(&missing);
    assert_eq!(all.iter().filter(|action| *action == "dev RUN to HOLD").count(), 2, "{all:?}");
}

#[test]
fn as_text_the_changes_are_told_and_then_a_table() {
    let place = place(&leak());
    let stdout = place.run(&["replay", "samples.jsonl"]).code(0).stdout;
    insta::assert_snapshot!(stdout);
    let one = place.run(&["replay", "samples.jsonl", "-o", "json"]).code(0).json();
    assert_eq!((one["kind"].as_str(), one["samples"].as_array().unwrap().len()), (Some("replay"), 80));
}

#[test]
fn what_a_tick_recorded_can_be_replayed() {
    let place = Place::this_machine();
    place.run(&["run"]).code(0);
    let samples = place.run(&["events", "--samples"]).code(0).stdout;
    std::fs::write(place.path("samples.jsonl"), samples).unwrap();
    assert_eq!(lines(&place, &[]).len(), 2);
}

#[test]
fn what_is_no_sample_is_told_with_its_line() {
    let place = place(&[sample("a", 0, 100, 0)]);
    let mut text = std::fs::read_to_string(place.path("samples.jsonl")).unwrap();
    text.push_str("\n{\"v\":1,\"kind\":\"event\"}\n");
    std::fs::write(place.path("bad.jsonl"), text).unwrap();
    let told = place.run(&["replay", "bad.jsonl"]).code(2).stderr;
    assert!(told.contains("bad.jsonl:3:") && told.contains("`event` is not a sample"), "{told}");
    std::fs::write(place.path("empty.jsonl"), "").unwrap();
    assert!(place.run(&["replay", "empty.jsonl"]).code(2).stderr.contains("holds no sample"));
    place.run(&["replay", "none.jsonl"]).code(1);
    place.write("trial.yml", "policy: {mme: {}}\n");
    let told = place.run(&["replay", "samples.jsonl", "--policy", "inventory/trial.yml"]).code(3).stderr;
    assert!(told.contains("did you mean `mem`?"), "{told}");
    place.run(&["replay", "samples.jsonl", "--policy", "no.yml"]).code(2);
}
