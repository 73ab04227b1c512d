//! Whatever dies in a launch or a stop, and wherever: no run begins twice, what was claimed is begun or free again, and
//! what is to stop can be stopped.

use std::fs;

use super::kill::{CALLS, every, killed_at, next, strace};
use super::launch::{Works, lives};
use super::support::until;

/// Kills `args`, and what they start, at all points; `prepare` is given the number of the turn and gives the arguments,
/// `look` what comes of it.
fn killed_everywhere(works: &Works, mut prepare: impl FnMut(usize) -> Vec<String>, mut look: impl FnMut(usize, &str)) {
    let mut turn = 0;
    for calls in CALLS {
        let mut when = 1;
        loop {
            turn += 1;
            let args = prepare(turn);
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let killed = killed_at(&works.0, &args, calls, when);
            look(turn, &format!("{args:?} killed at {calls} {when}"));
            if !killed {
                break;
            }
            // A launch is some hundred calls in a dozen processes. What it does for good ends with a sync, each of which is a
            // step of its own.
            let each = every() || calls.contains("sync");
            when = if each { when + 1 } else { next(when).max(2 * when) };
            assert!(when < 10_000, "{calls} never survives");
        }
    }
    assert!(turn > 20, "only {turn} turns");
}

fn begun(works: &Works, issue: usize) -> usize {
    works.began().iter().filter(|line| line.ends_with(&format!(" {issue} quick"))).count()
}

#[test]
fn a_launch_that_is_killed_at_any_step_begins_once_or_never() {
    if !strace() {
        return;
    }
    let works = Works::new();
    works.run(&["run", "-l", "one"]).code(0);
    let words = |issue: usize| {
        let words = ["launch", "--host", "one", "--repo", "harb", "--agent", "dev", "--issue"];
        let words = words.iter().map(|word| (*word).to_owned());
        words.chain([issue.to_string(), "--".to_owned(), "quick".to_owned()]).collect()
    };
    let mut never = 0;
    killed_everywhere(&works, words, |issue, after| {
        let claimed = works.document().claims.get(&format!("harb#{issue}")).cloned();
        let before = begun(&works, issue);
        assert!(before <= 1, "{after}");
        // The next ticks finish it.
        until("the task is free again", || {
            works.run(&["run", "-l", "one"]).code(0);
            (!works.document().claims.contains_key(&format!("harb#{issue}"))).then_some(())
        });
        let times = begun(&works, issue);
        assert!(times <= 1, "{after}: {times} times");
        // A claim whose wrapper did not die is worked on.
        if let Some(claim) = claimed
            && !works.state(&claim.token).starts_with("CRASHED")
        {
            assert_eq!(times, 1, "{after}: {claim:?} is {}", works.state(&claim.token));
        }
        never += usize::from(times == 0);
        // Secrets are not left behind, wherever it died.
        let mut kept = Vec::new();
        super::guard::walk(&works.0.path("home"), &mut |path| {
            if fs::read(path).is_ok_and(|bytes| bytes.windows(7).any(|part| part == b"hunter2")) {
                kept.push(path.to_owned());
            }
        });
        // One that was killed just then is swept by the next call.
        if !kept.is_empty() {
            works.launch(&["--agent", "review", "--", "quick"]);
            assert!(kept.iter().all(|path| !path.exists()), "{after}: {kept:?}");
        }
    });
    assert!(never > 0, "no kill came before the claim");
}

#[test]
fn a_stop_that_is_killed_at_any_step_can_be_repeated() {
    if !strace() {
        return;
    }
    let works = Works::new();
    works.run(&["run", "-l", "one"]).code(0);
    let token = std::cell::RefCell::new(String::new());
    let words = |issue: usize| {
        *token.borrow_mut() = works.launch(&["--agent", "dev", "--issue", &issue.to_string()]);
        until("the run", || (works.began().len() == issue).then_some(()));
        vec!["stop".to_owned(), token.borrow().clone(), "--now".to_owned(), "--host".to_owned(), "one".to_owned()]
    };
    killed_everywhere(&works, words, |issue, after| {
        let line = works.began().pop().unwrap();
        let pid = line.split(' ').nth(1).unwrap().to_owned();
        let token = token.borrow().clone();
        // Alive or gone, and told so; what ends it may do so while it is looked at, and then there is nothing to compare.
        let before = lives(&pid);
        let state = works.state(&token);
        if lives(&pid) == before {
            assert_eq!(before, state == "RUNNING" || state.ends_with("LEFTOVER"), "{after}: {state}");
        }
        works.run(&["stop", &token, "--now", "--host", "one"]).code(0);
        assert!(!lives(&pid), "{after}");
        works.run(&["run", "-l", "one"]).code(0);
        assert!(works.document().claims.is_empty(), "{after}");
        assert_eq!(works.began().len(), issue, "{after}: nothing began anew");
    });
}
