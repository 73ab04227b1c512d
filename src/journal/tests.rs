//! The journal against real files: what one process writes another one reads, whatever happens in between.

use super::*;

fn batch(at: Timestamp, host: &str, level: u8) -> Batch {
    Batch {
        tick: TickRecord {
            began: at,
            seconds: 0.5,
            by: "solo".to_owned(),
            inventory: "inventory".to_owned(),
            hosts: 1,
            missed: 0,
            controller: Controller { pid: 1, rss: 2, cpu_s: 0.25 },
        },
        hosts: vec![HostRecord {
            host: host.to_owned(),
            at,
            seen: Some(at),
            latches: "{}".to_owned(),
            severities: "{}".to_owned(),
            verdict: "ok".to_owned(),
            level,
            since: at,
            sample: format!("{{\"host\":\"{host}\",\"level\":{level}}}"),
        }],
        events: vec![Event {
            at,
            host: Some(host.to_owned()),
            what: "pressure".to_owned(),
            severity: level,
            message: format!("level {level}"),
        }],
        refusals: Vec::new(),
        logs: Vec::new(),
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[test]
fn what_was_written_is_read_back_in_order() {
    let state = tempfile::tempdir().unwrap();
    assert!(Journal::open_to_read(state.path()).unwrap().is_none());
    let (mut journal, aside) = Journal::open(state.path()).unwrap();
    assert!(aside.is_none());
    for (second, host, level) in [(100, "a", 0), (200, "b", 1), (300, "a", 2)] {
        journal.record(&batch(at(second), host, level)).unwrap();
    }
    // A second connection reads while the first is open.
    let reader = Journal::open_to_read(state.path()).unwrap().unwrap();
    let hosts = reader.hosts().unwrap();
    assert_eq!(hosts.iter().map(|h| (h.host.as_str(), h.level)).collect::<Vec<_>>(), [("a", 2), ("b", 1)]);
    assert_eq!(reader.last_tick().unwrap().unwrap().began, at(300));
    let all = Query { limit: 10, ..Query::default() };
    let messages = |query: &Query| -> Vec<String> {
        reader.events(query).unwrap().into_iter().map(|event| event.message).collect()
    };
    assert_eq!(messages(&all), ["level 0", "level 1", "level 2"]);
    assert_eq!(messages(&Query { limit: 2, ..all.clone() }), ["level 1", "level 2"]);
    assert_eq!(messages(&Query { since: Some(at(200)), ..all.clone() }), ["level 1", "level 2"]);
    assert_eq!(messages(&Query { hosts: Some(vec!["a".to_owned()]), ..all.clone() }), ["level 0", "level 2"]);
    assert_eq!(reader.samples(&all).unwrap().len(), 3);
}

#[test]
fn a_reader_sees_whole_ticks_while_a_writer_is_in_the_middle() {
    let state = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(state.path()).unwrap();
    journal.record(&batch(at(1), "a", 1)).unwrap();
    let reader = Journal::open_to_read(state.path()).unwrap().unwrap();
    journal.db.execute_batch("BEGIN IMMEDIATE; UPDATE host SET level = 3").unwrap();
    assert_eq!(reader.hosts().unwrap()[0].level, 1);
    journal.db.execute_batch("COMMIT").unwrap();
    assert_eq!(reader.hosts().unwrap()[0].level, 3);
    assert!(reader.db.execute("DELETE FROM event", []).is_err(), "a reader cannot write");
}

#[test]
fn a_refused_login_is_kept_until_the_host_is_seen_without_one() {
    let state = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(state.path()).unwrap();
    let refused = |host: &str| Refusal { host: host.to_owned(), login: "x".to_owned(), times: 2, until: at(900) };
    journal.record(&Batch { refusals: vec![refused("a")], ..batch(at(1), "a", 4) }).unwrap();
    journal.record(&Batch { refusals: vec![refused("b")], ..batch(at(2), "b", 4) }).unwrap();
    assert_eq!(journal.refusals().unwrap(), [refused("a"), refused("b")]);
    journal.record(&batch(at(3), "a", 0)).unwrap();
    assert_eq!(journal.refusals().unwrap(), [refused("b")]);
}

#[test]
fn old_rows_go_and_new_ones_stay() {
    let state = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(state.path()).unwrap();
    let day = 86_400;
    for second in [1, 80 * day, 99 * day] {
        journal.record(&batch(at(second), "a", 0)).unwrap();
    }
    journal.prune(at(100 * day)).unwrap();
    let all = Query { limit: 10, ..Query::default() };
    assert_eq!((journal.samples(&all).unwrap().len(), journal.events(&all).unwrap().len()), (1, 2));
}

#[test]
fn a_damaged_journal_is_moved_aside_and_a_newer_one_is_left_alone() {
    let state = tempfile::tempdir().unwrap();
    let path = state.path().join("journal.db");
    std::fs::write(&path, "this is not a database, it is a love letter, and a long one at that".repeat(20)).unwrap();
    let error = Journal::open_to_read(state.path()).err().unwrap();
    assert!(error.advice().unwrap().contains("moves it aside"), "{error:?}");
    let (mut journal, aside) = Journal::open(state.path()).unwrap();
    assert!(std::fs::read_to_string(aside.unwrap()).unwrap().starts_with("this is not a database"));
    journal.record(&batch(at(1), "a", 0)).unwrap();

    journal.db.pragma_update(None, "user_version", 99).unwrap();
    drop(journal);
    let error = Journal::open(state.path()).err().unwrap();
    assert!(error.causes().concat().contains("newer factory"), "{error:?}");
    assert!(Journal::open_to_read(state.path()).is_err());
}
