//! The algebra by tables.

use super::super::wanted::Wanted;
use super::*;
use crate::remote::halt::HaltFile;

/// How a hold lies to the scope of a resume.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lies {
    /// It is lifted.
    Inside,
    /// It is told: it holds some of the scope and more.
    Wider,
    /// It has nothing to do with it.
    Apart,
}
use Lies::*;

#[test]
fn a_resume_lifts_what_is_inside_and_tells_what_is_wider() {
    // The hold, the scope of the resume, what comes of it: HOSTS REPO AGENT, `**` is every agent with the supervisors.
    let table = [
        // The same.
        ("b1 * dev", "b1 * dev", Inside),
        ("b1 harb dev", "b1 harb dev", Inside),
        ("* * *", "* * *", Inside),
        ("* * **", "* * **", Inside),
        ("b1,b2 * dev,review", "b1,b2 * dev,review", Inside),
        // Hosts.
        ("b1 * dev", "b1,b2 * dev", Inside),
        ("b1 * dev", "* * dev", Inside),
        ("b1,b2 * dev", "b1 * dev", Wider),
        ("* * dev", "b1 * dev", Wider),
        ("* * dev", "b1,b2 * dev", Wider),
        ("b1,b2 * dev", "b2,b3 * dev", Wider),
        ("b1 * dev", "b2 * dev", Apart),
        ("b1,b2 * dev", "b3 * dev", Apart),
        // Repos.
        ("b1 harb dev", "b1 * dev", Inside),
        ("b1 harb dev", "b1 harb,web dev", Inside),
        ("b1 * dev", "b1 harb dev", Wider),
        ("b1 harb,web dev", "b1 harb dev", Wider),
        ("b1 harb dev", "b1 web dev", Apart),
        // Agents.
        ("b1 * dev", "b1 * dev,review", Inside),
        ("b1 * dev", "b1 * *", Inside),
        ("b1 * *", "b1 * dev", Wider),
        ("b1 * dev,review", "b1 * dev", Wider),
        ("b1 * dev", "b1 * review", Apart),
        ("b1 * unheard-of", "b1 * *", Inside),
        // Supervisors are held by name or by `--all` only, so `*` without them says nothing of them.
        ("b1 * supervisor", "b1 * *", Apart),
        ("b1 * supervisor", "b1 * **", Inside),
        ("b1 * boss", "b1 * *", Apart),
        ("b1 * dev,supervisor", "b1 * *", Wider),
        ("b1 * dev,supervisor", "b1 * **", Inside),
        ("b1 * *", "b1 * supervisor", Apart),
        ("b1 * **", "b1 * supervisor", Wider),
        ("b1 * **", "b1 * dev", Wider),
        ("b1 * *", "b1 * **", Inside),
        ("b1 * **", "b1 * *", Wider),
        ("* * **", "b1 * **", Wider),
        // Several at once.
        ("b1 harb dev", "* * **", Inside),
        ("b1 harb supervisor", "* * **", Inside),
        ("* * **", "b1 harb dev", Wider),
        ("b1 harb *", "b1 * dev", Wider),
        ("* harb dev", "b1 * *", Wider),
        ("b1 harb *", "b2 * *", Apart),
        ("b1 harb *", "b1 web *", Apart),
        ("b1 harb dev", "b1 harb review", Apart),
        // Nothing at all is inside everything and meets nothing.
        ("- * dev", "b1 * dev", Inside),
        ("* * dev", "- * dev", Apart),
        ("* - *", "* harb *", Inside),
        ("b1 * -", "b1 * dev", Inside),
    ];
    for (hold, of, lies) in table {
        let mut holds = vec![held("h", scope(hold))];
        let resumed = resume(&mut holds, &scope(of), "bob@desk", at(9), is_supervisor);
        let came = match (&resumed.ended[..], &resumed.wider[..]) {
            ([_], []) => Inside,
            ([], [_]) => Wider,
            ([], []) => Apart,
            other => panic!("{other:?}"),
        };
        assert_eq!(came, lies, "resume {of} where {hold} is held");
        let ended = (lies == Inside).then(|| Ended { at: at(9), by: Some("bob@desk".to_owned()) });
        assert_eq!(holds[0].ended, ended, "resume {of} where {hold} is held");
    }
}

#[test]
fn a_hold_shows_in_these_files() {
    // What is held, and the files on b1; `away:` is an `active_file`, `line:` the key of crontab lines.
    let table = [
        // dev is started by poll, that by boss: who starts what is held is held.
        ("b1 * dev", "boss dev poll /srv/harb.halt away:~/poll on line:dev@web"),
        ("b1 harb dev", "boss@harb dev@harb poll@harb /srv/harb.halt"),
        ("b1 web dev", "boss@web dev@web poll@web line:dev@web"),
        ("b1 * nightly", "nightly line:nightly"),
        ("b1 web nightly", "nightly@web"),
        ("b1 * review", "boss poll review ~/review.halt away:~/poll on"),
        ("b1 harb review", "boss@harb poll@harb review@harb"),
        ("b1 * poll", "boss poll away:~/poll on"),
        ("b1 * boss", "boss"),
        // Only by name or with `--all`.
        ("b1 * supervisor", "supervisor away:/opt/supervisor.on"),
        (
            "b1 * *",
            "boss dev nightly poll review /srv/harb.halt ~/review.halt away:~/poll on line:dev@web line:nightly",
        ),
        (
            "b1 * **",
            "boss dev nightly poll review supervisor /srv/harb.halt ~/review.halt away:/opt/supervisor.on away:~/poll on line:dev@web line:nightly",
        ),
        ("b1 harb,web poll", "boss@harb boss@web poll@harb poll@web"),
        ("* * boss", "boss"),
        ("b2 * dev", ""),
        ("- * dev", ""),
        ("b1 * unheard-of", "unheard-of"),
    ];
    let model = model(false);
    for (hold, files) in table {
        let holds = [held("h", scope(hold))];
        let wanted = Wanted::on("b1", &holds, &model);
        let shown = wanted.files.keys().map(HaltFile::to_string);
        let away = wanted.hidden.iter().map(|path| format!("away:{path}"));
        let lines = wanted.lines.iter().map(|mark| format!("line:{}", mark.key));
        let all: Vec<String> = shown.chain(away).chain(lines).collect();
        assert_eq!(all.join(" "), files, "{hold}");
    }
}

#[test]
fn agents_and_repos_that_come_later_are_held_by_a_star() {
    let holds = [held("h", scope("* * *"))];
    let (before, after) = (model(false), model(true));
    let extra = HaltFile::of("extra", "*");
    assert!(!Wanted::on("new-host", &holds, &before).files.contains_key(&extra));
    assert!(Wanted::on("new-host", &holds, &after).files.contains_key(&extra));
}

#[test]
fn the_same_scope_again_only_updates() {
    let mut holds = Vec::new();
    let clock = boot("a", 5.0);
    let say = |holds: &mut Vec<Hold>, text: &str, seconds, reason: Option<&str>, id: &str| {
        let wish = Wish { reason: reason.map(str::to_owned), ..wish(scope(text), seconds) };
        hold(holds, &wish, id, at(0), &clock)
    };
    let (new, same) = (|id: &str| (id.to_owned(), Held::New), |how| ("1".to_owned(), how));
    assert_eq!(say(&mut holds, "b1 * dev", None, None, "1"), new("1"));
    assert_eq!(say(&mut holds, "b1 * dev", None, None, "2"), same(Held::Already));
    assert_eq!(say(&mut holds, "b1 * dev", None, Some("work"), "3"), same(Held::Updated));
    assert_eq!(say(&mut holds, "b1 * dev", None, None, "4"), same(Held::Already), "no reason keeps the one there is");
    assert_eq!(say(&mut holds, "b1 * dev", Some(60.0), None, "5"), same(Held::Updated));
    assert_eq!(holds[0].until.as_ref().map(|until| (until.at, until.spent)), Some((at(60), 0.0)));
    assert_eq!(holds[0].reason.as_deref(), Some("work"));
    assert_eq!(say(&mut holds, "b1 * dev", Some(60.0), None, "6"), same(Held::Updated), "from now on again");
    assert_eq!(say(&mut holds, "b1 * dev", None, None, "7"), same(Held::Updated), "for good again");
    assert_eq!(holds[0].until, None);
    holds[0].found = Some(Found::default());
    assert_eq!(say(&mut holds, "b1 * dev", Some(60.0), None, "8"), same(Held::Already), "a person's own has no end");
    // Another scope is another hold, however near.
    for (i, other) in ["b1 harb dev", "b1,b2 * dev", "b1 * *", "b1 * **", "* * dev"].into_iter().enumerate() {
        assert_eq!(say(&mut holds, other, None, None, &format!("x{i}")), new(&format!("x{i}")));
    }
    // One that is over is not taken up again.
    resume(&mut holds, &scope("* * **"), "bob@desk", at(1), is_supervisor);
    assert_eq!(say(&mut holds, "b1 * dev", None, None, "8"), new("8"));
    assert_eq!(holds.iter().filter(|hold| hold.ended.is_none()).count(), 1);
}

#[test]
fn a_length_that_no_clock_can_tell_is_no_panic() {
    for (seconds, until) in [
        (f64::INFINITY, None),
        (f64::NAN, None),
        (1e300, Some(Timestamp::MAX)),
        (1e12, Some(Timestamp::MAX)),
        (0.0, Some(at(0))),
    ] {
        let mut holds = Vec::new();
        hold(&mut holds, &wish(scope("b1 * dev"), Some(seconds)), "1", at(0), &boot("a", 0.0));
        assert_eq!(holds[0].until.as_ref().map(|until| until.at), until, "{seconds}");
        let json = serde_json::to_string(&holds).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Hold>>(&json).unwrap(), holds);
    }
}

#[test]
fn flags_are_what_a_person_types() {
    for (text, flags, told) in [
        ("* * **", "--all", "every agent, the supervisor too, on every host"),
        ("* * *", "--host all", "every agent on every host"),
        ("b1 * *", "--host b1", "every agent on b1"),
        ("b1,b2 * dev", "--host b1,b2 --agent dev", "agent dev on b1,b2"),
        ("* harb *", "--repo harb", "every agent of repo harb on every host"),
        ("b$1 harb dev", "--host 'b$1' --repo harb --agent dev", "agent dev of repo harb on b$1"),
    ] {
        assert_eq!(scope(text).flags(), flags);
        assert_eq!(scope(text).to_string(), told);
    }
}

#[test]
fn a_pick_is_a_star_or_a_list() {
    for text in [r#""**""#, r#""""#, r#""dev""#, r#"" *""#, r#""all""#, "1", "null", "{}", r#"[1]"#, r#"[["dev"]]"#] {
        assert!(serde_json::from_str::<Pick>(text).is_err(), "{text}");
    }
    assert_eq!(serde_json::from_str::<Pick>(r#""*""#).unwrap(), Pick::All);
    // A host may be called so: a list is names.
    assert_eq!(serde_json::from_str::<Pick>(r#"["*"]"#).unwrap(), Pick::one("*"));
}
