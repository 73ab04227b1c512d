//! Tables of every kind, there and back.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::line::{held, is_job};
use super::*;

fn mark(key: &str, text: &str) -> Mark {
    Mark { key: key.to_owned(), text: text.to_owned() }
}

fn hold(wanted: &[Mark], ours: &[&str]) -> Edit {
    Edit::Hold { wanted: wanted.to_vec(), ours: ours.iter().map(|key| (*key).to_owned()).collect() }
}

fn block_of(fleet: &str, lines: &[&str]) -> Edit {
    Edit::Block { fleet: fleet.to_owned(), lines: lines.iter().map(|line| (*line).to_owned()).collect() }
}

/// As text, for equality that can be read.
fn done(table: &str, with: &Edit) -> String {
    String::from_utf8(edit(table.as_bytes(), with).unwrap()).unwrap()
}

const REAL: &str = "MAILTO=\"\"\nSHELL = /bin/bash\n\n# dev agents\n*/6 * * * * cd ~/x && bash dev/dev-poll.sh >>dev.log 2>&1\n\
    3,13,23 * * * * bash review/review-poll.sh\n@reboot bash dev/dev-poll.sh --boot\n# */6 * * * * bash dev/dev-poll.sh off\n\
    \t0\t4 * * sun\tbash dev/dev-poll.sh\t \n";

#[test]
fn lines_are_held_and_released_to_the_byte() {
    let dev = mark("dev", "dev/dev-poll.sh");
    let held = done(REAL, &hold(std::slice::from_ref(&dev), &["dev", "review"]));
    let want = REAL
        .replace("*/6 * * * * cd", "#factory:dev# */6 * * * * cd")
        .replace("@reboot", "#factory:dev# @reboot")
        .replace("\t0\t4", "#factory:dev# \t0\t4");
    assert_eq!(held, want);
    assert_eq!(look(held.as_bytes(), std::slice::from_ref(&dev)), [Look { live: 0, held: 3 }]);
    assert_eq!(
        look(REAL.as_bytes(), &[dev.clone(), mark("x", "poll.sh")]),
        [Look { live: 3, held: 0 }, Look { live: 4, held: 0 }]
    );
    // Who does not decide about dev leaves it.
    assert_eq!(done(&held, &hold(&[], &["review"])), held);
    assert_eq!(done(&held, &hold(&[], &["dev"])), REAL);
    assert_eq!(done(&held, &Edit::Leave), REAL);
}

#[test]
fn a_line_of_two_agents_is_held_until_both_let_go() {
    let (dev, poll) = (mark("dev", "dev-poll"), mark("poll", "poll.sh"));
    let both = [dev.clone(), poll.clone()];
    let ours = ["dev", "poll"];
    for first in &both {
        for last in &both {
            let one = done(REAL, &hold(std::slice::from_ref(first), &ours));
            let two = done(&one, &hold(&both, &ours));
            assert_eq!(look(two.as_bytes(), &[mark("x", "poll.sh")]), [Look { live: 0, held: 0 }]);
            let left = done(&two, &hold(std::slice::from_ref(last), &ours));
            assert_eq!(left, done(REAL, &hold(std::slice::from_ref(last), &ours)));
            assert_eq!(done(&left, &hold(&[], &ours)), REAL);
        }
    }
    // A takeover holds on when the hold ends.
    let over = mark("takeover:dev", "dev-poll");
    let with = done(REAL, &hold(std::slice::from_ref(&over), &["takeover:dev"]));
    assert_eq!(done(&with, &hold(&[dev], &ours)), with);
    assert_eq!(done(&with, &hold(&[], &ours)), with);
}

#[test]
fn a_block_comes_and_goes_and_stands_where_it_stood() {
    let lines = ["* * * * * factory run --if-due", "# a comment"];
    let with = done(REAL, &block_of("home", &lines));
    assert_eq!(with, format!("{REAL}# BEGIN factory home\n{}\n{}\n# END factory home\n", lines[0], lines[1]));
    assert_eq!(done(&with, &block_of("home", &lines)), with);
    assert_eq!(block(with.as_bytes(), "home").unwrap().unwrap(), format!("{}\n{}\n", lines[0], lines[1]).as_bytes());
    assert_eq!(block(with.as_bytes(), "other").unwrap(), None);
    let later = format!("{with}5 5 * * * mine\n");
    let other = done(&later, &block_of("home", &["@hourly x"]));
    assert_eq!(other, format!("{REAL}# BEGIN factory home\n@hourly x\n# END factory home\n5 5 * * * mine\n"));
    assert_eq!(done(&other, &block_of("home", &[])), format!("{REAL}5 5 * * * mine\n"));
    // What is in a block is nobody's agent.
    let all = mark("dev", " ");
    assert_eq!(done(&other, &hold(std::slice::from_ref(&all), &[])).matches("#factory:dev# ").count(), 5);
    // Another fleet's block is another's.
    let two = done(&with, &block_of("away", &["@daily y"]));
    assert_eq!(done(&two, &block_of("home", &[])), done(REAL, &block_of("away", &["@daily y"])));
    assert_eq!(done(&done(&two, &hold(&[all], &[])), &Edit::Leave), REAL);
    assert_eq!(done("", &block_of("home", &["@daily y"])), "# BEGIN factory home\n@daily y\n# END factory home\n");
}

#[test]
fn what_is_not_certain_is_refused_and_what_is_nobodys_stays() {
    let dev = [mark("dev", "poll")];
    let job = "* * * * * poll\n";
    let begin = "# BEGIN factory x\n";
    let end = "# END factory x\n";
    let other = "# BEGIN factory y\n";
    for (parts, why) in [
        (vec![begin, job], "line 1 (# BEGIN factory x) begins a block that does not end"),
        (vec![job, end], "line 2 (# END factory x) ends a block that does not begin"),
        (vec![end, job, begin], "line 1 (# END factory x) ends a block that does not begin"),
        (vec![begin, other, end, job], "line 2 (# BEGIN factory y) begins a block inside that of line 1"),
        (vec![begin, begin, job, end, end], "line 2 (# BEGIN factory x) begins a block inside that of line 1"),
        (vec![begin, job, "# END factory y\n"], "line 3 (# END factory y) ends another block than line 1"),
    ] {
        let table = parts.concat();
        let held = table.replace("* * *", "#factory:dev# * * *");
        for (table, with) in [
            (&table, hold(&dev, &[])),
            (&held, hold(&[], &["dev"])),
            (&table, block_of("x", &["@daily y"])),
            (&table, block_of("x", &[])),
            (&held, Edit::Leave),
        ] {
            let refused = edit(table.as_bytes(), &with).unwrap_err().to_string();
            assert!(refused.starts_with(why), "{refused}");
        }
        // What has nothing to do there does it.
        let nothing = hold(&[mark("dev", "other")], &["dev"]);
        assert_eq!(done(&table, &nothing), table);
        assert_eq!(done(&table, &block_of("z", &[])), table);
    }
    let doubled = [begin, job, end, begin, end].concat();
    let refused = edit(doubled.as_bytes(), &block_of("x", &[])).unwrap_err().to_string();
    assert_eq!(refused, "fleet x has two blocks, at line 1 and at line 4");
    assert_eq!(done(&doubled, &hold(&dev, &[])), doubled);

    for foreign in [
        "#factory:dev# hello poll\n",
        "#factory:dev#* * * * * poll\n",
        "#factory:dev * * * * * poll\n",
        "#factory:# * * * * * poll\n",
        "#factory:a b# * * * * * poll\n",
        "#factory:dev# #factory:dev# * * * * * poll\n",
        " #factory:dev# * * * * * poll\n",
        "#factory:dev# POLL=poll\n",
        "# BEGIN factory two words\n",
        "# BEGIN factory \n",
        "#BEGIN factory x\n",
        "poll=* * * * * poll\n",
        "@reboot = poll\n",
        "* * * poll\n",
    ] {
        let table = format!("{foreign}{job}");
        let held = format!("{foreign}#factory:dev# {job}");
        assert_eq!(done(&table, &hold(&dev, &["dev"])), held);
        assert_eq!(done(&held, &hold(&[], &["dev"])), table);
        assert_eq!(done(&held, &Edit::Leave), table);
    }
}

#[test]
fn what_cannot_be_written_down_is_refused() {
    for bad in [
        hold(&[mark("", "x")], &[]),
        hold(&[mark("a#", "x")], &[]),
        hold(&[mark("a", "")], &[]),
        hold(&[mark("a", "x\ny")], &[]),
        hold(&[], &["a b"]),
        block_of("a b", &["x"]),
        block_of("", &[]),
        block_of("a", &["x\ny"]),
        block_of("a", &["# END factory a"]),
        block_of("a", &["x\r"]),
    ] {
        assert!(edit(REAL.as_bytes(), &bad).is_err(), "{bad:?}");
    }
    let refused = |table: &[u8]| edit(table, &hold(&[mark("dev", "poll")], &[])).unwrap_err().to_string();
    assert_eq!(refused(b"* * * * * poll\0\n"), "it holds a NUL byte");
    let long = "* * * * * poll\n".repeat(100_000);
    assert_eq!(refused(long.as_bytes()), "it has 100000 lines, over 10000");
    assert_eq!(done(&long, &hold(&[mark("dev", "other")], &[])), long);
    let most = "* * * * * poll\n".repeat(MAX_LINES);
    assert_eq!(done(&most, &hold(&[mark("dev", "poll")], &[])).matches("#factory:dev# ").count(), MAX_LINES);
    assert_eq!(
        edit(most.as_bytes(), &block_of("a", &["@daily x"])).unwrap_err().to_string(),
        "it has 10003 lines, over 10000"
    );
    // Cron takes no table whose last line has no end: no block can go behind it, and a hold leaves it so.
    let open = "@daily x\n* * * * * poll";
    assert_eq!(
        edit(open.as_bytes(), &block_of("a", &["x"])).unwrap_err().to_string(),
        "its last line has no line break"
    );
    assert_eq!(done(open, &hold(&[mark("dev", "poll")], &[])), "@daily x\n#factory:dev# * * * * * poll");
}

#[test]
fn percents_are_told_of() {
    let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    let bad = ["* * * * * date +%F", "@daily x%", "0 0 * * * a\\%b %"];
    let good = ["* * * * * date +\\%F", "# 50 %", "RATE=50 %", "* * * * * x", "nothing % here"];
    assert_eq!(percent(&lines(&good)), Vec::<String>::new());
    let told = percent(&lines(&[bad.as_slice(), good.as_slice()].concat()));
    assert_eq!(told.len(), 3);
    assert_eq!(told[0], "cron makes a line break of `%`; write `\\%` in: * * * * * date +%F");
}

#[test]
fn a_difference_is_shown_as_diff_shows_it() {
    assert_eq!(diff(REAL.as_bytes(), REAL.as_bytes()), "");
    let held = done(REAL, &hold(&[mark("review", "review")], &[]));
    assert_eq!(
        diff(REAL.as_bytes(), held.as_bytes()),
        "@@ -3,7 +3,7 @@\n \n # dev agents\n */6 * * * * cd ~/x && bash dev/dev-poll.sh >>dev.log 2>&1\n\
         -3,13,23 * * * * bash review/review-poll.sh\n+#factory:review# 3,13,23 * * * * bash review/review-poll.sh\n \
         @reboot bash dev/dev-poll.sh --boot\n # */6 * * * * bash dev/dev-poll.sh off\n \t0\t4 * * sun\tbash dev/dev-poll.sh\t \n"
    );
    assert_eq!(diff(b"", b"a\x1b\xff\r\nb"), "@@ -0,0 +1,2 @@\n+a\\u{1b}\\xff\\r\n+b\n\\ no line break at the end\n");
    let far = "a\n".repeat(3) + &"b\n".repeat(7) + "c\n";
    let text = diff(far.as_bytes(), far.replace('a', "x").replace('c', "y").as_bytes());
    assert_eq!(text.matches("@@ -").count(), 2);
    // Too much to look for what goes together.
    let (one, two) = ("a\n".repeat(3000), "a\nb\n".repeat(1500));
    assert_eq!(diff(one.as_bytes(), two.as_bytes()).matches("\n+b").count(), 1500);
}

const BLANKS: [&str; 5] = [" ", "\t", "  ", " \t ", ""];

const FIELDS: [&str; 14] = ["*", "*/6", "1-5", "3,13", "0", "59", "jan", "sun", "61", "x", "*/0", "-*/2", "", "\u{e9}"];

const PARTS: [&[u8]; 13] = [
    b"dev-poll.sh",
    b"review-poll.sh",
    b"x",
    b"\xe4\xff",
    b"%",
    b"\\%",
    b"#",
    b"=",
    b" ",
    b"\t",
    b"'",
    b"\x08",
    b"\\r",
];

const TEXTS: [&str; 16] = [
    "",
    " ",
    "# a comment",
    "MAILTO=\"\"",
    "A = b c",
    "'A B'=c",
    "A=",
    "@reboot = x",
    "#factory:dev# hello",
    "#factory:dev#",
    "#factory:dev# A=dev-poll.sh",
    "#factory:dev@harb# ",
    "#factory:",
    "# BEGIN factory",
    "# BEGIN factory home now",
    "#* * * * * dev-poll.sh",
];

const FENCES: [&str; 4] = ["# BEGIN factory home", "# END factory home", "# BEGIN factory away", "# END factory away "];

fn command() -> impl Strategy<Value = Vec<u8>> {
    vec(select(&PARTS[..]), 0..5).prop_map(|parts| parts.concat())
}

/// Lines that cron runs, without their ends.
fn good() -> impl Strategy<Value = Vec<u8>> {
    const WHEN: [&str; 4] = ["* * * * * ", "@reboot ", "0\t4 * jan sun\t", "*/6 * * * *  "];
    (select(&BLANKS[..]), select(&WHEN[..]), command())
        .prop_map(|(blank, when, command)| [blank.as_bytes(), when.as_bytes(), &command].concat())
}

/// Lines of every kind.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let any_job = (vec((select(&FIELDS[..]), select(&BLANKS[..])), 4..7), command()).prop_map(|(fields, command)| {
        let mut line: Vec<u8> = fields.iter().flat_map(|(field, blank)| [*field, *blank]).collect::<String>().into();
        line.extend(command);
        line
    });
    prop_oneof![
        4 => good(),
        2 => any_job,
        2 => select(&TEXTS[..]).prop_map(|text| text.as_bytes().to_vec()),
        1 => select(&FENCES[..]).prop_map(|text| text.as_bytes().to_vec()),
        // Held for one who is not us.
        1 => good().prop_map(|job| [b"#factory:theirs# ".as_slice(), &job].concat()),
        1 => vec(any::<u8>().prop_filter("a line", |b| !b"\n\0".contains(b)), 0..30),
    ]
}

fn table() -> impl Strategy<Value = Vec<u8>> {
    let end = prop_oneof![8 => Just(b"\n".as_slice()), 1 => Just(b"\r\n".as_slice())];
    let lines = vec((line(), end), 0..12);
    (lines, prop_oneof![5 => Just(false), 1 => Just(true)]).prop_map(|(lines, cut)| {
        let mut table: Vec<u8> = lines.iter().flat_map(|(line, end)| [line.as_slice(), end].concat()).collect();
        if cut {
            table.pop();
        }
        table
    })
}

/// A table with whole blocks at most, so that most edits are done.
fn plain() -> impl Strategy<Value = Vec<u8>> {
    table().prop_map(|table| {
        let lines = table.split_inclusive(|b| *b == b'\n').filter(|line| !fence::is_fence(line));
        lines.collect::<Vec<_>>().concat()
    })
}

fn marks() -> impl Strategy<Value = Vec<Mark>> {
    let one = (select(&["dev", "dev@harb", "poll"][..]), select(&["dev-poll.sh", "poll", "x", " "][..]));
    vec(one.prop_map(|(key, text)| mark(key, text)), 0..4)
}

const OURS: [&str; 3] = ["dev", "dev@harb", "poll"];

/// What a table is once nothing of it is held by us, if that can be said.
fn bare(table: &[u8]) -> Vec<u8> {
    edit(table, &hold(&[], &OURS)).unwrap_or_else(|_| table.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_foreign_byte_is_as_before(table in table(), marks in marks(), later in marks()) {
        let table = bare(&table);
        for wanted in [&marks, &later] {
            match edit(&table, &hold(wanted, &OURS)) {
                // Then nothing was changed, and what was refused is not done by halves later.
                Err(_) => prop_assert!(fence::blocks(&fence::lines(&table)).is_err()),
                Ok(held) => {
                    prop_assert_eq!(edit(&held, &hold(wanted, &OURS)).unwrap(), held.clone());
                    prop_assert_eq!(edit(&held, &hold(&[], &OURS)).unwrap(), table.clone());
                    // In whatever order they come and go.
                    let other = edit(&held, &hold(&later, &OURS));
                    if let Ok(other) = other {
                        prop_assert_eq!(edit(&other, &hold(&[], &OURS)).unwrap(), table.clone());
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_wanted_does_not_run_and_all_else_does(table in plain(), marks in marks()) {
        let table = bare(&table);
        let held = edit(&table, &hold(&marks, &OURS)).unwrap();
        prop_assert!(look(&held, &marks).iter().all(|look| look.live == 0));
        // Line for line: held where a text of its own stands, else untouched.
        let (old, new) = (fence::lines(&table), fence::lines(&held));
        prop_assert_eq!(old.len(), new.len());
        for (old, new) in old.into_iter().zip(new) {
            let wanted = marks.iter().any(|mark| old.windows(mark.text.len()).any(|part| part == mark.text.as_bytes()));
            match super::line::held(new).filter(|_| old != new) {
                Some((key, bare)) => {
                    prop_assert!(wanted && is_job(old) && bare == old);
                    prop_assert!(marks.iter().any(|mark| mark.key.as_bytes() == key));
                }
                None => prop_assert!(old == new && !(wanted && is_job(old))),
            }
        }
        // A table reads the same whatever is held for whom.
        let swapped: Vec<Mark> = marks.iter().rev().cloned().collect();
        let other = edit(&table, &hold(&swapped, &OURS)).unwrap();
        prop_assert_eq!(bare(&other), bare(&held));
        prop_assert_eq!(look(&other, &[mark("", "x")])[0].live, look(&held, &[mark("", "x")])[0].live);
    }

    #[test]
    fn a_block_leaves_nothing_behind(table in table(), marks in marks()) {
        let fresh = block_of("third", &["* * * * * factory run --if-due", "# dev-poll.sh"]);
        if let Ok(with) = edit(&table, &fresh) {
            prop_assert!(block(&with, "third").unwrap().is_some());
            prop_assert_eq!(edit(&with, &fresh).unwrap(), with.clone());
            prop_assert_eq!(edit(&with, &block_of("third", &[])).unwrap(), table.clone());
            // It does not matter which of hold and block comes first.
            let held = hold(&marks, &OURS);
            let one = edit(&with, &held).unwrap();
            prop_assert_eq!(&one, &edit(&edit(&table, &held).unwrap(), &fresh).unwrap());
        } else {
            let blocks = fence::blocks(&fence::lines(&table));
            prop_assert!(blocks.is_err() || !table.ends_with(b"\n"));
        }
    }

    #[test]
    fn leaving_takes_what_is_ours_and_nothing_else(table in plain(), marks in marks()) {
        let ours = hold(&[], &["dev", "dev@harb", "poll", "theirs"]);
        let table = edit(&table, &ours).unwrap();
        let mut with = edit(&table, &hold(&marks, &OURS)).unwrap();
        if let Ok(block) = edit(&with, &block_of("home", &["@daily x"])) {
            with = block;
        }
        prop_assert_eq!(edit(&with, &Edit::Leave).unwrap(), table);
    }

    #[test]
    fn a_difference_can_be_put_back(one in table(), two in table()) {
        // What is not shown is the same in both, and what is shown is what they are.
        let text = diff(&one, &two);
        let count = |sign: char| text.lines().filter(|line| line.starts_with(sign) ).count();
        let (gone, come) = (count('-'), count('+'));
        prop_assert_eq!(fence::lines(&one).len() + come, fence::lines(&two).len() + gone);
        prop_assert_eq!(text.is_empty(), one == two);
    }

    #[test]
    fn no_bytes_are_too_strange(table in vec(any::<u8>(), 0..300), marks in marks()) {
        for with in [hold(&marks, &OURS), block_of("home", &["@daily x"]), Edit::Leave] {
            if let Ok(new) = edit(&table, &with) {
                prop_assert!(new.len() >= table.len() || with == Edit::Leave || held(&table).is_some() || new == table);
            }
        }
        let _ = (look(&table, &marks), diff(&table, b"x"), block(&table, "home"));
    }
}
