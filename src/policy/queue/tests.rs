//! One table for all of readiness, and what holds for every input.

use std::fmt::Display;

use proptest::prelude::*;

use super::*;
use super::{issue, pull};

const NOW: i64 = 1_773_316_800;
const HEAD: &str = "bbbb";
const OLD: &str = "aaaa";
const SLUG: &str = "johba/harb";
const FORGE: &str = "https://codeberg.org";

fn at(minutes_ago: i64) -> Timestamp {
    Timestamp::from_second(NOW - minutes_ago * 60).unwrap()
}

/// One repo at one look, in few words. The repo is `harb` with the accounts dev-bot and review-bot.
#[derive(Clone, Debug, Default)]
struct Case {
    seen: Look,
    elsewhere: Vec<(&'static str, u64, &'static str)>,
    checks: Vec<&'static str>,
    approvals: u32,
    no_ci: bool,
    by_statuses: bool,
    no_reviewer: bool,
}

/// What is seen, as [`Seen`] has it.
#[derive(Clone, Debug, Default)]
struct Look {
    issues: Vec<Issue>,
    pulls: Vec<Pull>,
    facts: BTreeMap<Ref, Fact>,
    taken: BTreeSet<String>,
    blind: bool,
    runs_as_of: Option<Timestamp>,
    merged: BTreeMap<u64, u64>,
}

/// A pull with its text, which says what it closes.
struct Draft {
    pull: Pull,
    body: String,
}

impl std::ops::Deref for Draft {
    type Target = Pull;

    fn deref(&self) -> &Pull {
        &self.pull
    }
}

impl std::ops::DerefMut for Draft {
    fn deref_mut(&mut self) -> &mut Pull {
        &mut self.pull
    }
}

/// The pull with this number, changed by `change`.
fn drafted(number: u64, change: impl FnOnce(&mut Draft)) -> Pull {
    let mut draft = Draft { pull: pull(number), body: String::new() };
    change(&mut draft);
    let Draft { mut pull, body } = draft;
    let told = closes::Told { number: pull.number, title: &pull.title, body: &body, branch: &pull.branch };
    pull.closes = closes::closes(told, SLUG, FORGE);
    pull
}

/// An issue with these labels and this text.
fn issue(number: u64, labels: &str, body: &str) -> Issue {
    let labels = labels.split_whitespace().map(str::to_owned).collect();
    let (title, depends) = (String::new(), depends::depends(body, SLUG, FORGE));
    Issue { number, title, depends, labels, assignees: vec![], open: true, pull: false, since: at(60) }
}

/// A pull of an hour ago: its pipeline is green, nobody reviewed it.
fn pull(number: u64) -> Pull {
    Pull {
        number,
        title: "fix: the parser".to_owned(),
        closes: BTreeSet::new(),
        author: "dev-bot".to_owned(),
        base: "master".to_owned(),
        branch: format!("topic-{number}"),
        head: HEAD.to_owned(),
        head_at: at(60),
        open: true,
        draft: false,
        mergeable: Some(true),
        reviews: Some(vec![]),
        statuses: Some(vec![]),
        pipelines: Some(vec![ci("pull", State::Success)]),
        untold: None,
    }
}

fn ci(event: &str, state: State) -> Pipeline {
    let event = match event {
        "pull" => Event::Pull(None),
        "push" => Event::Push,
        _ => Event::Other,
    };
    let number = if event == Event::Push { 41 } else { 40 };
    Pipeline { number, event, commit: HEAD.to_owned(), state, unfetched: false, steps: Some(vec![]) }
}

/// A failed pipeline of the pull with failed steps.
fn red(steps: &[(&str, i64)]) -> Pipeline {
    let step = |(name, code): &(&str, i64)| Step {
        name: (*name).to_owned(),
        state: State::Failure,
        exit_code: Some(*code),
        ignored: false,
    };
    Pipeline { steps: Some(steps.iter().map(step).collect()), ..ci("pull", State::Failure) }
}

fn review(id: u64, author: &str, says: Says, commit: &str) -> Review {
    let (author, commit) = (author.to_owned(), commit.to_owned());
    let official = !author.starts_with("stranger");
    Review { id, author, says, commit, dismissed: false, stale: false, official }
}

fn badge(id: u64, context: &str, state: StatusState) -> Status {
    Status { id, context: context.to_owned(), state }
}

impl Case {
    fn ready(body: &str) -> Case {
        Case::one(issue(10, "backlog", body))
    }

    fn one(issue: Issue) -> Case {
        Case { seen: Look { issues: vec![issue], runs_as_of: Some(at(0)), ..Look::default() }, ..Case::default() }
    }

    /// One pull, number 20, changed by `change`.
    fn pull(change: impl FnOnce(&mut Draft)) -> Case {
        let pulls = vec![drafted(20, change)];
        Case { seen: Look { pulls, runs_as_of: Some(at(0)), ..Look::default() }, ..Case::default() }
    }

    /// The same with these reviews.
    fn reviews(reviews: Vec<Review>) -> Case {
        Case::pull(|pull| pull.reviews = Some(reviews))
    }

    /// The same where the statuses of the head commit decide, these.
    fn statuses(statuses: &[(&str, StatusState)]) -> Case {
        let one = |(at, (context, state)): (usize, &(&str, StatusState))| badge(at as u64, context, *state);
        let statuses = statuses.iter().enumerate().map(one).collect();
        // Pipelines there may be, and none is asked.
        let case =
            Case::pull(|pull| (pull.statuses, pull.pipelines) = (Some(statuses), Some(vec![red(&[("test", 1)])])));
        case.with(|case| case.by_statuses = true)
    }

    /// The same five minutes after its head commit.
    fn young(self) -> Case {
        self.with(|case| case.seen.pulls[0].head_at = at(5))
    }

    /// The same with these pipelines.
    fn ci(pipelines: Vec<Pipeline>) -> Case {
        Case::pull(|pull| pull.pipelines = Some(pipelines))
    }

    fn with(mut self, change: impl FnOnce(&mut Case)) -> Case {
        change(&mut self);
        self
    }

    fn fact(self, slug: &str, number: u64, fact: Fact) -> Case {
        self.with(|case| _ = case.seen.facts.insert(Ref::new(slug, number), fact))
    }

    fn taken(self, task: &str) -> Case {
        self.with(|case| _ = case.seen.taken.insert(task.to_owned()))
    }

    fn closing(self, change: impl FnOnce(&mut Draft)) -> Case {
        let one = drafted(20, change);
        self.with(|case| case.seen.pulls.push(one))
    }

    fn also(self, number: u64, labels: &str, body: &str) -> Case {
        let one = issue(number, labels, body);
        self.with(|case| case.seen.issues.push(one))
    }

    fn judged(&self) -> Judged {
        let labels = Labels::default();
        let repo = Repo {
            name: "harb",
            slug: SLUG,
            branch: Some("master"),
            labels: &labels,
            ours: &["dev-bot", "review-bot"],
            reviewer: (!self.no_reviewer).then_some("review-bot"),
            approvals: self.approvals,
            checks: &self.checks,
            ci: match (self.no_ci, self.by_statuses) {
                (true, _) => CiKind::None,
                (_, true) => CiKind::Statuses,
                _ => CiKind::Pipelines,
            },
            grace: GRACE,
        };
        let Look { issues, pulls, facts, taken, blind, runs_as_of, merged } = &self.seen;
        let elsewhere = self.elsewhere.iter();
        let elsewhere: Vec<_> =
            elsewhere.map(|(slug, n, body)| (slug, n, depends::depends(body, slug, FORGE))).collect();
        let mut graph = Graph::default();
        issues.iter().for_each(|issue| graph.add(repo.slug, issue.number, &issue.depends));
        elsewhere.iter().for_each(|(slug, number, on)| graph.add(slug, **number, on));
        let taken: BTreeSet<&str> = taken.iter().map(String::as_str).collect();
        let seen = Seen {
            issues,
            pulls: pulls.iter().collect(),
            facts: facts.iter().map(|(one, fact)| (one, *fact)).collect(),
            taken: &taken,
            blind: *blind,
            runs_as_of: *runs_as_of,
            merged: merged.clone(),
        };
        judge(&repo, &seen, &graph, at(0))
    }

    /// The verdict on issue 10 or else on pull 20, as it prints.
    fn verdict(&self) -> String {
        let judged = self.judged();
        match (judged.issues.get(&10), judged.pulls.get(&20)) {
            (Some(issue::Verdict::Ready), _) => "ready".to_owned(),
            (Some(issue::Verdict::Orphaned), _) => "orphaned".to_owned(),
            (Some(issue::Verdict::Not(reason)), _) => reason.to_string(),
            (None, Some(pull)) => pull.to_string(),
            (None, None) => "not judged".to_owned(),
        }
    }
}

const YES: Says = Says::Approved;
const NO: Says = Says::ChangesRequested;
const WORD: Says = Says::Comment;
const PR: &str = "ci/woodpecker/pr/test";
const PUSH: &str = "ci/woodpecker/push/test";
const JOB: &str = "ci.yml / test (pull_request)";
const PUSHED: &str = "ci.yml / test (push)";
const BASE: &str = "l.yml / l (pull_request_target)";
const GOOD: StatusState = StatusState::Success;
const BAD: StatusState = StatusState::Failure;
const OPEN: StatusState = StatusState::Pending;
const ON: &str = "it depends on #9, ";

#[rustfmt::skip]
fn table() -> Vec<(&'static str, Case, String)> {
    let row = |name, case: Case, expected: &dyn Display| (name, case, expected.to_string());
    let mine = |labels: &str| Issue { assignees: vec!["Dev-Bot".to_owned()], ..issue(10, labels, "") };
    let bot = |says, commit| review(1, "review-bot", says, commit);
    let approved = |change: &dyn Fn(&mut Draft)| Case::pull(|pull| {
        pull.reviews = Some(vec![review(1, "review-bot", YES, HEAD)]);
        change(pull);
    });
    vec![
        // Issues: state, labels, people.
        row("a labelled issue", Case::ready("do it"), &"ready"),
        row("no label", Case::one(issue(10, "", "")), &"it is not labelled backlog"),
        row("another label beside", Case::one(issue(10, "backlog bug", "")), &"ready"),
        row("a label in another case is another label", Case::one(issue(10, "Backlog", "")), &"it is not labelled backlog"),
        row("blocked", Case::one(issue(10, "backlog blocked", "")), &"it is labelled blocked"),
        row("unclear", Case::one(issue(10, "backlog underspecified", "")), &"it is labelled underspecified"),
        row("in progress, assigned to nobody", Case::one(issue(10, "in-progress", "")), &"it is labelled in-progress and assigned to nobody: who began it is not known"),
        row("label race: ready and active, nobody yet", Case::one(issue(10, "backlog in-progress", "")), &"it is labelled in-progress and assigned to nobody: who began it is not known"),
        row("label race: ready and active, ours, a run", Case::one(mine("backlog in-progress")).taken("harb#10"), &"a run works on it, or may"),
        row("label race: ready and active, ours, no run", Case::one(mine("backlog in-progress")), &"orphaned"),
        row("label race: assigned to us, not yet labelled", Case::one(mine("backlog")), &"ready"),
        row("assigned to a person", Case::one(Issue { assignees: vec!["anna".to_owned()], ..issue(10, "backlog", "") }), &"it is assigned to anna"),
        row("a person works on it", Case::one(Issue { assignees: vec!["anna".to_owned()], ..issue(10, "in-progress", "") }), &"it is labelled in-progress and assigned to anna"),
        row("a person beside us", Case::one(Issue { assignees: vec!["dev-bot".to_owned(), "anna".to_owned()], ..issue(10, "in-progress", "") }), &"it is labelled in-progress and assigned to anna, dev-bot"),
        row("closed", Case::one(Issue { open: false, ..issue(10, "backlog", "") }), &"not judged"),
        row("a pull among the issues", Case::one(Issue { pull: true, ..issue(10, "backlog", "") }), &"not judged"),
        row("claimed", Case::ready("").taken("harb#10"), &"a run works on it, or may"),
        row("another repo's claim", Case::ready("").taken("other#10"), &"ready"),
        row("a claim of a longer number", Case::ready("").taken("harb#100"), &"ready"),
        row("orphaned", Case::one(mine("in-progress")), &"orphaned"),
        row("not orphaned while a host is silent", Case::one(mine("in-progress")).with(|case| case.seen.runs_as_of = None), &"nobody seems to work on it, but not every run is known"),
        row("not orphaned when it was begun after the hosts were seen", Case::one(mine("in-progress")).with(|case| case.seen.runs_as_of = Some(at(61))), &"nobody seems to work on it, but not every run is known"),
        row("a comment's mark in code hides nothing", Case::ready("Strip `<!--` from it.\n\nDepends on #9"), &format!("{ON}of which nothing is known")),
        row("a comment hides what is in it", Case::ready("<!--\nDepends on #9\n-->\nDo it."), &"ready"),
        row("merged for it, and the forge left it open", Case::one(mine("in-progress")).with(|case| case.seen.merged = BTreeMap::from([(10, 41)])), &"pull #41 was merged for it: close it, or label it anew if more is to be done"),
        row("not orphaned with a pull", Case::one(mine("in-progress")).closing(|pull| pull.body = "Fixes #10".into()), &"pull #20 is open for it"),
        row("not ready while claims are unknown", Case::ready("").with(|case| case.seen.blind = true), &"whether a run works on it is not known: the ledger cannot be read"),
        row("nor orphaned then", Case::one(mine("in-progress")).with(|case| case.seen.blind = true), &"whether a run works on it is not known: the ledger cannot be read"),
        row("no review while claims are unknown", Case::pull(|_| ()).with(|case| case.seen.blind = true), &"unknown: whether a run works on it is not known: the ledger cannot be read"),
        row("nor fixes then", Case::ci(vec![red(&[("test", 1)])]).with(|case| case.seen.blind = true), &"unknown: whether a run works on it is not known: the ledger cannot be read"),
        row("orphaned and blocked", Case::one(mine("in-progress blocked")), &"it is labelled blocked"),
        // Issues: pulls for them.
        row("Fixes #N", Case::ready("").closing(|pull| pull.body = "Fixes #10".into()), &"pull #20 is open for it"),
        row("closes: #N", Case::ready("").closing(|pull| pull.body = "This closes: #10.".into()), &"pull #20 is open for it"),
        row("its branch", Case::ready("").closing(|pull| pull.branch = "fix/issue-10".into()), &"pull #20 is open for it"),
        row("a longer branch", Case::ready("").closing(|pull| pull.branch = "fix/issue-100".into()), &"ready"),
        row("its title", Case::ready("").closing(|pull| pull.title = "fix: it (#10)".into()), &"pull #20 is open for it"),
        row("a mere mention", Case::ready("").closing(|pull| pull.body = "like #10, but not it".into()), &"ready"),
        row("Fixes in code", Case::ready("").closing(|pull| pull.body = "say `Fixes #10`".into()), &"ready"),
        row("a draft is a pull too", Case::ready("").closing(|pull| (pull.draft, pull.body) = (true, "Fixes #10".into())), &"pull #20 is open for it"),
        row("a closed pull is none: 405 is not merged", Case::ready("").closing(|pull| (pull.open, pull.body) = (false, "Fixes #10".into())), &"ready"),
        row("two pulls for one issue", Case::ready("").closing(|pull| pull.body = "Fixes #10".into()).closing(|pull| (pull.number, pull.body) = (15, "Fixes #10".into())), &"pull #15 is open for it"),
        // Issues: dependencies.
        row("a closed dependency", Case::ready("Depends on #9").fact("johba/harb", 9, Fact::Closed), &"ready"),
        row("an open dependency", Case::ready("Depends on #9").fact("johba/harb", 9, Fact::Open), &format!("{ON}which is open")),
        row("an open dependency of the list", Case::ready("Depends on #9").also(9, "", ""), &format!("{ON}which is open")),
        row("what was closed is open again", Case::ready("Depends on #9").also(9, "", "").fact("johba/harb", 9, Fact::Closed), &format!("{ON}which is open")),
        row("an unknown dependency", Case::ready("Depends on #9"), &format!("{ON}of which nothing is known")),
        row("a dependency that is not there", Case::ready("Depends on #9").fact("johba/harb", 9, Fact::Absent), &format!("{ON}which does not exist")),
        row("closed by a pull that is not merged", Case::ready("Depends on #9").fact("johba/harb", 9, Fact::Unmerged(8)), &format!("{ON}which is closed, but pull #8 was not merged")),
        row("closed while its pull is open", Case::ready("Depends on #9").fact("johba/harb", 9, Fact::Closed).closing(|pull| pull.body = "Fixes #9".into()), &format!("{ON}which is closed, but pull #20 was not merged")),
        row("a dependency on a pull that is open", Case::ready("Depends on #20").closing(|_| ()), &"it depends on #20, which is open"),
        row("two, one of them done", Case::ready("Blocked by #9 and #8").fact("johba/harb", 9, Fact::Closed).also(8, "", ""), &"it depends on #8, which is open"),
        row("two, neither done", Case::ready("## Depends on\n- #9\n- #8").also(8, "", "").also(9, "", ""), &"it depends on #9, which is open, and on #8, which is open"),
        row("on itself", Case::ready("depends on #10"), &"it depends on itself"),
        row("a circle of two", Case::ready("depends on #9").also(9, "", "depends on #10"), &"it waits for itself: #10 -> #9 -> #10"),
        row("a circle of three", Case::ready("depends on #8").also(8, "", "after #7").also(7, "", "## Blocked by\n#10"), &"it waits for itself: #10 -> #8 -> #7 -> #10"),
        row("before a circle, not in it", Case::ready("depends on #9").also(9, "", "depends on #8").also(8, "", "depends on #9"), &format!("{ON}which is open")),
        row("another repo, done", Case::ready("depends on me/lib#3").fact("me/lib", 3, Fact::Closed), &"ready"),
        row("another repo, unknown", Case::ready("depends on me/lib#3"), &"it depends on me/lib#3, of which nothing is known"),
        row("the same number of another repo", Case::ready("depends on me/lib#9").also(9, "", "").fact("me/lib", 9, Fact::Closed), &"ready"),
        row("a circle over two repos", Case::ready("depends on me/lib#3").with(|case| case.elsewhere.push(("me/lib", 3, "after johba/harb#10"))), &"it waits for itself: #10 -> me/lib#3 -> #10"),
        row("another forge", Case::ready("depends on https://github.com/a/b/issues/3"), &"it depends on https://github.com/a/b/issues/3, of which nothing is known"),
        row("an orphan waits too", Case::one(Issue { depends: vec![Ref::new(SLUG, 9)], ..mine("in-progress") }), &format!("{ON}of which nothing is known")),
        // Pulls: which are looked at.
        row("a green pull", Case::pull(|_| ()), &"needs a review"),
        row("another base", Case::pull(|pull| pull.base = "dev".into()), &"waits: it goes to dev"),
        row("a draft", Case::pull(|pull| pull.draft = true), &"waits: it is a draft"),
        row("WIP:", Case::pull(|pull| pull.title = "WIP: x".into()), &"waits: it is a draft"),
        row("[WIP]", Case::pull(|pull| pull.title = "[wip] x".into()), &"waits: it is a draft"),
        row("Draft:", Case::pull(|pull| pull.title = "Draft: x".into()), &"waits: it is a draft"),
        row("wipe is no draft", Case::pull(|pull| pull.title = "wipe: x".into()), &"needs a review"),
        row("reviews that are refused", Case::pull(|pull| (pull.reviews, pull.untold) = (None, Some("403: no".into()))), &"unknown: the forge does not tell its reviews: 403: no"),
        row("its review is claimed", Case::pull(|_| ()).taken("harb!20@bbbb"), &"waits: a run works on harb!20@bbbb, or may"),
        row("the review of an older commit is claimed", Case::pull(|_| ()).taken("harb!20@aaaa"), &"needs a review"),
        row("a closed pull", Case::pull(|pull| pull.open = false), &"not judged"),
        // Pulls: the right pipeline.
        row("push green while pull red", Case::ci(vec![ci("push", State::Success), red(&[("test", 1)])]), &"needs fixes: step test of pipeline 40 failed"),
        row("push red while pull green", Case::ci(vec![ci("push", State::Failure), ci("pull", State::Success)]), &"needs a review"),
        row("push green while pull runs", Case::ci(vec![ci("push", State::Success), ci("pull", State::Running)]), &"waits: pipeline 40 is not finished"),
        row("push alone, at first", Case::pull(|pull| (pull.head_at, pull.pipelines) = (at(5), Some(vec![ci("push", State::Success)]))), &"waits: no pipeline of the pull yet, 300s after its head commit"),
        row("push alone, after a while", Case::ci(vec![ci("push", State::Success)]), &"needs a review"),
        row("nothing at all", Case::ci(vec![]), &"waits: no pipeline and no status check for its head commit"),
        row("the checks alone, after a while", Case::pull(|pull| (pull.pipelines, pull.statuses) = (Some(vec![]), Some(vec![badge(1, PR, StatusState::Success)]))).with(|case| case.checks = vec!["ci/*"]), &"needs a review"),
        row("green for an older commit", Case::ci(vec![Pipeline { commit: OLD.into(), ..ci("pull", State::Success) }]), &"waits: no pipeline and no status check for its head commit"),
        row("restarted: the later one counts", Case::ci(vec![Pipeline { number: 45, ..ci("pull", State::Success) }, red(&[("test", 1)])]), &"needs a review"),
        row("another pull's of the same commit", Case::ci(vec![Pipeline { event: Event::Pull(Some(21)), ..ci("pull", State::Success) }]), &"waits: no pipeline and no status check for its head commit"),
        row("a lost callback: the badge pending, the pipeline ended", Case::pull(|pull| pull.statuses = Some(vec![badge(1, PR, StatusState::Pending)])), &"needs a review"),
        row("a lost callback stops the merge, and says so", approved(&|pull| pull.statuses = Some(vec![badge(1, PR, StatusState::Pending)])).with(|case| case.checks = vec!["ci/woodpecker/pr/*"]), &"waits: CI is green, but the forge does not show it: ci/woodpecker/pr/*; a callback may be lost"),
        row("CI does not answer", Case::pull(|pull| pull.pipelines = None), &"unknown: CI does not answer"),
        row("CI does not answer, badges green", Case::pull(|pull| (pull.pipelines, pull.statuses) = (None, Some(vec![badge(1, PR, StatusState::Success)]))), &"unknown: CI does not answer"),
        row("repo id 0", Case::pull(|pull| pull.pipelines = None).with(|case| case.no_ci = true), &"needs a review"),
        row("no CI, a check that failed", Case::pull(|pull| pull.statuses = Some(vec![badge(1, "lint", StatusState::Failure)])).with(|case| (case.no_ci, case.checks) = (true, vec!["lint"])), &"needs fixes: lint failed"),
        row("no CI, a check that nobody asks for", Case::pull(|pull| pull.statuses = Some(vec![badge(1, "lint", StatusState::Failure)])).with(|case| case.no_ci = true), &"needs a review"),
        row("no CI, a check that is pending", Case::pull(|pull| pull.statuses = Some(vec![badge(1, "lint", StatusState::Pending)])).with(|case| (case.no_ci, case.checks) = (true, vec!["lint"])), &"waits: not green yet: lint"),
        row("no CI, a check that could not judge", Case::pull(|pull| pull.statuses = Some(vec![badge(1, "lint", StatusState::Error)])).with(|case| (case.no_ci, case.checks) = (true, vec!["lint"])), &"CI failed, not by the code: lint could not judge"),
        row("no CI, the later badge counts", Case::pull(|pull| pull.statuses = Some(vec![badge(2, "lint", StatusState::Success), badge(1, "lint", StatusState::Failure)])).with(|case| (case.no_ci, case.checks) = (true, vec!["lint"])), &"needs a review"),
        row("128 in clone", Case::ci(vec![red(&[("clone", 128)])]), &"CI failed, not by the code: step clone of pipeline 40 ended with 128: the forge refused git, by its rate limit say"),
        row("128 in a test", Case::ci(vec![red(&[("test", 128)])]), &"needs fixes: step test of pipeline 40 failed"),
        row("137", Case::ci(vec![red(&[("build", 137)])]), &"CI failed, not by the code: step build of pipeline 40 ended with 137: out of memory"),
        row("137 and a failed test", Case::ci(vec![red(&[("build", 137), ("test", 1)])]), &"needs fixes: step test of pipeline 40 failed"),
        row("137, and a step whose failure is ignored", Case::ci(vec![red(&[("build", 137), ("lint", 1)])]).with(|case| case.seen.pulls[0].pipelines.as_mut().unwrap()[0].steps.as_mut().unwrap()[1].ignored = true), &"CI failed, not by the code: step build of pipeline 40 ended with 137: out of memory"),
        row("failed, steps not told", Case::ci(vec![Pipeline { steps: None, ..red(&[]) }]), &"unknown: CI does not tell the steps of a failed pipeline"),
        row("a wrong configuration", Case::ci(vec![ci("pull", State::Error)]), &"needs fixes: pipeline 40 could not be made: its configuration is wrong"),
        row("a configuration that could not be had", Case::ci(vec![Pipeline { unfetched: true, ..ci("pull", State::Error) }]), &"CI failed, not by the code: pipeline 40 could not be made: the forge did not tell its configuration"),
        row("killed", Case::ci(vec![ci("pull", State::Killed)]), &"waits: pipeline 40 was ended before it was done"),
        row("waits for approval in CI", Case::ci(vec![ci("pull", State::Blocked)]), &"waits: pipeline 40 waits for somebody to allow it"),
        row("declined", Case::ci(vec![ci("pull", State::Declined)]), &"waits: pipeline 40 was declined"),
        // Pulls: statuses alone.
        row("statuses: green", Case::statuses(&[(JOB, GOOD)]), &"needs a review"),
        row("statuses: green at once", Case::statuses(&[(JOB, GOOD), ("lint", GOOD)]).young(), &"needs a review"),
        row("statuses: red", Case::statuses(&[(JOB, BAD), ("lint", GOOD)]), &"needs fixes: ci.yml / test (pull_request) failed"),
        row("statuses: one is open", Case::statuses(&[(JOB, OPEN), ("lint", GOOD)]), &"waits: not green yet: ci.yml / test (pull_request)"),
        row("statuses: red is red while others are open", Case::statuses(&[(JOB, BAD), ("lint", OPEN)]), &"needs fixes: ci.yml / test (pull_request) failed"),
        row("statuses: could not judge", Case::statuses(&[(JOB, StatusState::Error)]), &"CI failed, not by the code: ci.yml / test (pull_request) could not judge"),
        row("statuses: called off", Case::statuses(&[(JOB, StatusState::Killed)]), &"waits: ci.yml / test (pull_request) was ended before it was done"),
        row("statuses: called off since another failed", Case::statuses(&[(JOB, StatusState::Killed), ("ci.yml / lint (pull_request)", BAD)]), &"needs fixes: ci.yml / lint (pull_request) failed"),
        row("statuses: the later one counts", Case::statuses(&[(JOB, BAD), (JOB, GOOD)]), &"needs a review"),
        row("statuses: run again", Case::statuses(&[(JOB, GOOD), (JOB, OPEN)]), &"waits: not green yet: ci.yml / test (pull_request)"),
        row("statuses: push red while pull green", Case::statuses(&[(PUSHED, BAD), (JOB, GOOD)]), &"needs a review"),
        row("statuses: push green while pull red", Case::statuses(&[(PUSH, GOOD), (PR, BAD)]), &"needs fixes: ci/woodpecker/pr/test failed"),
        row("statuses: push green while pull open", Case::statuses(&[(PUSH, GOOD), (PR, OPEN)]), &"waits: not green yet: ci/woodpecker/pr/test"),
        row("statuses: Drone's", Case::statuses(&[("continuous-integration/drone/push", BAD), ("continuous-integration/drone/pr", GOOD)]), &"needs a review"),
        row("statuses: what runs for the base silences no push", Case::statuses(&[(BASE, GOOD), (PUSHED, BAD)]), &"needs fixes: ci.yml / test (push) failed"),
        row("statuses: nor is it the pull's at first", Case::statuses(&[(BASE, GOOD), (PUSHED, GOOD)]).young(), &"waits: no pipeline of the pull yet, 300s after its head commit"),
        row("statuses: what runs for the base is nothing, at first", Case::statuses(&[(BASE, GOOD)]).young(), &"waits: no pipeline of the pull yet, 300s after its head commit"),
        row("statuses: and nothing after a while", Case::statuses(&[(BASE, GOOD)]), &"waits: no pipeline and no status check for its head commit"),
        row("statuses: nor is it red", Case::statuses(&[(BASE, BAD), (JOB, GOOD)]), &"needs a review"),
        row("statuses: * does not name what runs for the base", Case::statuses(&[(BASE, GOOD)]).with(|case| case.checks = vec!["*"]), &"waits: not green yet: *"),
        row("statuses: * and a red push beside it", Case::statuses(&[(BASE, GOOD), (PUSHED, BAD)]).with(|case| case.checks = vec!["*"]), &"needs fixes: ci.yml / test (push) failed"),
        row("statuses: what runs for the base, asked for by name", Case::statuses(&[(BASE, OPEN), (JOB, GOOD)]).with(|case| case.checks = vec![BASE, JOB]), &"waits: not green yet: l.yml / l (pull_request_target)"),
        row("statuses: asked for by name, and a red push", Case::statuses(&[(BASE, GOOD), (PUSHED, BAD)]).with(|case| case.checks = vec![BASE, "ci.yml / *"]), &"needs fixes: ci.yml / test (push) failed"),
        row("statuses: asked for by its workflow, at first", Case::statuses(&[(BASE, GOOD)]).young().with(|case| case.checks = vec!["l.yml / *"]), &"waits: no pipeline of the pull yet, 300s after its head commit"),
        row("statuses: asked for by its workflow, after a while", Case::statuses(&[(BASE, GOOD)]).with(|case| case.checks = vec!["l.yml / *"]), &"needs a review"),
        row("no pipeline, and only what runs for the base", Case::pull(|pull| (pull.pipelines, pull.statuses) = (Some(vec![]), Some(vec![badge(1, BASE, GOOD)]))).with(|case| case.checks = vec!["*"]), &"waits: no pipeline and no status check for its head commit"),
        row("statuses: push alone, at first", Case::statuses(&[(PUSHED, GOOD)]).young(), &"waits: no pipeline of the pull yet, 300s after its head commit"),
        row("statuses: push alone and another, at first", Case::statuses(&[(PUSHED, GOOD), ("lint", GOOD)]).young(), &"waits: no pipeline of the pull yet, 300s after its head commit"),
        row("statuses: push alone, after a while", Case::statuses(&[(PUSHED, GOOD)]), &"needs a review"),
        row("statuses: push alone, red, after a while", Case::statuses(&[(PUSHED, BAD)]), &"needs fixes: ci.yml / test (push) failed"),
        row("statuses: none, at first", Case::statuses(&[]).young(), &"waits: no pipeline of the pull yet, 300s after its head commit"),
        row("statuses: none, after a while", Case::statuses(&[]), &"waits: no pipeline and no status check for its head commit"),
        row("statuses: not told", Case::statuses(&[]).with(|case| case.seen.pulls[0].statuses = None), &"unknown: the forge does not tell the status checks"),
        row("statuses: words that only look like an event", Case::statuses(&[("docker/push", BAD), (JOB, GOOD)]), &"needs fixes: docker/push failed"),
        row("statuses: asked for, green, others red", Case::statuses(&[(JOB, GOOD), ("lint", BAD)]).with(|case| case.checks = vec!["ci.yml / *"]), &"needs a review"),
        row("statuses: asked for, one is not there", Case::statuses(&[(JOB, GOOD)]).with(|case| case.checks = vec!["ci.yml / *", "lint"]), &"waits: not green yet: lint"),
        row("statuses: asked for, none there, at first", Case::statuses(&[("x", GOOD)]).young().with(|case| case.checks = vec!["lint"]), &"waits: no pipeline of the pull yet, 300s after its head commit"),
        row("statuses: asked for, none there, after a while", Case::statuses(&[("x", GOOD)]).with(|case| case.checks = vec!["lint"]), &"waits: not green yet: lint"),
        row("statuses: asked for, nothing there at all", Case::statuses(&[]).with(|case| case.checks = vec!["lint"]), &"waits: no pipeline and no status check for its head commit"),
        row("statuses: asked for by *, push red while pull green", Case::statuses(&[(PUSH, BAD), (PR, GOOD)]).with(|case| case.checks = vec!["ci/*"]), &"needs a review"),
        row("statuses: asked for by *, push alone, at first", Case::statuses(&[(PUSH, GOOD)]).young().with(|case| case.checks = vec!["ci/*"]), &"waits: no pipeline of the pull yet, 300s after its head commit"),
        row("statuses: that of a push asked for by name", Case::statuses(&[(PUSHED, GOOD), (JOB, GOOD)]).young().with(|case| case.checks = vec![PUSHED]), &"needs a review"),
        row("statuses: approved, green", Case::statuses(&[(JOB, GOOD)]).with(|case| case.seen.pulls[0].reviews = Some(vec![bot(YES, HEAD)])), &"may be merged"),
        row("statuses: approved, what the forge asks for is red", Case::statuses(&[(JOB, GOOD), (PUSHED, BAD)]).with(|case| (case.checks, case.seen.pulls[0].reviews) = (vec!["*"], Some(vec![bot(YES, HEAD)]))), &"waits: CI is green, but the forge does not show it: ci.yml / test (push); a callback may be lost"),
        // Pulls: reviews.
        row("reviewed at an older commit", Case::reviews(vec![bot(YES, OLD)]), &"needs a review"),
        row("commented by us", Case::reviews(vec![bot(WORD, HEAD)]), &"waits: 0 of 1 approvals of its head commit"),
        row("a review that is being written", Case::reviews(vec![bot(Says::Nothing, HEAD)]), &"needs a review"),
        row("commented by a person", Case::reviews(vec![review(1, "anna", WORD, HEAD)]), &"needs a review"),
        row("commented by a person, no review account", Case::reviews(vec![review(1, "anna", WORD, HEAD)]).with(|case| case.no_reviewer = true), &"waits: 0 of 1 approvals of its head commit"),
        row("changes requested by us", Case::reviews(vec![bot(NO, HEAD)]), &"needs fixes: review-bot asked for changes"),
        row("changes requested by a person", Case::reviews(vec![bot(YES, HEAD), review(2, "anna", NO, HEAD)]), &"needs fixes: anna asked for changes"),
        row("changes requested by a stranger", Case::reviews(vec![review(2, "stranger", NO, HEAD)]), &"needs a review"),
        row("changes requested, dismissed", Case::reviews(vec![Review { dismissed: true, ..bot(NO, HEAD) }]), &"needs a review"),
        row("changes requested, stale", Case::reviews(vec![Review { stale: true, ..bot(NO, HEAD) }]), &"needs a review"),
        row("changes requested at an older commit", Case::reviews(vec![bot(NO, OLD)]), &"needs a review"),
        row("changes requested, then approved", Case::reviews(vec![review(2, "review-bot", YES, HEAD), bot(NO, HEAD)]), &"may be merged"),
        row("approved, then changes requested", Case::reviews(vec![review(2, "review-bot", NO, HEAD), bot(YES, HEAD)]), &"needs fixes: review-bot asked for changes"),
        row("a dismissed approval uncovers the no before", Case::reviews(vec![Review { dismissed: true, ..review(2, "anna", YES, HEAD) }, review(1, "anna", NO, HEAD)]), &"needs fixes: anna asked for changes"),
        row("fixes that are claimed", Case::pull(|pull| (pull.reviews, pull.body) = (Some(vec![review(1, "review-bot", NO, HEAD)]), "Fixes #10".into())).taken("harb#10"), &"waits: a run works on harb#10, or may"),
        row("fixes claimed by the pull's own number", Case::reviews(vec![bot(NO, HEAD)]).taken("harb#20"), &"waits: a run works on harb#20, or may"),
        row("reviews not told", Case::pull(|pull| pull.reviews = None), &"unknown: the forge does not tell its reviews"),
        row("made by who reviews", Case::pull(|pull| pull.author = "review-bot".into()), &"waits: it was made by review-bot, who reviews: a forge lets nobody approve their own pulls"),
        // Pulls: merges.
        row("approved", approved(&|_| ()), &"may be merged"),
        row("approved, asked for two", approved(&|_| ()).with(|case| case.approvals = 2), &"waits: 1 of 2 approvals of its head commit"),
        row("the same approval twice", Case::reviews(vec![bot(YES, HEAD), review(2, "Review-Bot", YES, HEAD)]).with(|case| case.approvals = 2), &"waits: 1 of 2 approvals of its head commit"),
        row("approved by a stranger", Case::reviews(vec![review(1, "stranger", YES, HEAD)]), &"needs a review"),
        row("approved, red", approved(&|pull| pull.pipelines = Some(vec![red(&[("test", 1)])])), &"needs fixes: step test of pipeline 40 failed"),
        row("approved, conflict", approved(&|pull| pull.mergeable = Some(false)), &"waits: it conflicts with its base"),
        row("approved, the forge is not sure", approved(&|pull| pull.mergeable = None), &"waits: the forge does not say whether it can be merged"),
        row("approved, a person's no is older", approved(&|pull| pull.reviews.as_mut().unwrap().push(review(2, "anna", NO, OLD))), &"waits: anna asked for changes of an earlier commit"),
        row("approved, a required check is not there", approved(&|_| ()).with(|case| case.checks = vec!["lint"]), &"waits: CI is green, but the forge does not show it: lint; a callback may be lost"),
        row("approved, required checks green", approved(&|pull| pull.statuses = Some(vec![badge(1, PR, StatusState::Success)])).with(|case| case.checks = vec!["ci/*/pr/*"]), &"may be merged"),
        row("approved, no CI", approved(&|pull| pull.pipelines = None).with(|case| case.no_ci = true), &"may be merged"),
    ]
}

#[test]
fn readiness_is_right_in_every_case_of_the_table() {
    let table = table();
    assert!(table.len() >= 60);
    let wrong: Vec<String> = table
        .iter()
        .map(|(name, case, expected)| (name, case.verdict(), expected))
        .filter(|(_, verdict, expected)| verdict != *expected)
        .map(|(name, verdict, expected)| format!("{name}:\n  wanted {expected}\n  got    {verdict}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let names: BTreeSet<&str> = table.iter().map(|(name, ..)| *name).collect();
    assert_eq!(names.len(), table.len(), "a name is there twice");
}

#[test]
fn work_on_a_pull_is_the_task_of_the_issues_that_it_closes() {
    let labels = Labels::default();
    let repo = Repo {
        name: "harb",
        slug: SLUG,
        branch: None,
        labels: &labels,
        ours: &[],
        reviewer: None,
        approvals: 0,
        checks: &[],
        ci: CiKind::Pipelines,
        grace: GRACE,
    };
    let of = |body: &str, title: &str| {
        pull::tasks(&repo, &drafted(20, |pull| (pull.body, pull.title) = (body.into(), title.into())))
    };
    assert_eq!(of("Fixes #12, #3 and #4", ""), ["harb#3", "harb#4", "harb#12"]);
    assert_eq!(of("resolves johba/harb#7\ncloses other/repo#8", ""), ["harb#7"]);
    assert_eq!(of("Fixes https://codeberg.org/johba/harb/issues/7", ""), ["harb#7"]);
    assert_eq!(of("Fixes #7. Like #8", ""), ["harb#7"]);
    assert_eq!(of("Fixes `it` #7", ""), ["harb#20"]);
    assert_eq!(of("see #7", "fix: it (#20)"), ["harb#20"], "its own number closes nothing");
    assert_eq!(of("```\nFixes #7\n```\n> Fixes #8", "Fix the tests"), ["harb#20"]);
    assert_eq!(review_task("harb", 20, "bbbb"), "harb!20@bbbb");
}

#[test]
fn what_an_issue_depends_on_is_what_its_text_says() {
    let on = |body: &str| {
        let all = depends::depends(body, SLUG, "https://codeberg.org/");
        all.iter().map(|one| one.shown("johba/harb")).collect::<Vec<_>>().join(" ")
    };
    let rows = [
        ("Depends on #12", "#12"),
        ("depends on: #12, #13 and #14.", "#12 #13 #14"),
        ("Depends on #12,\n#13", "#12 #13"),
        ("**Depends on:** #12", "#12"),
        ("Blocked by #3 and #4. #5 is like it", "#3 #4"),
        ("blocked by issue #3 (the schema of #9), and pull #4", "#3 #4"),
        ("do this after #7 is merged", "#7"),
        ("after [#7](https://codeberg.org/johba/harb/issues/7), please", "#7"),
        ("After that, see #7", ""),
        ("hereafter #7", ""),
        ("It no longer depends on #4 and is not blocked by #5", ""),
        ("#12 and #13 are like it; fixes #14", ""),
        ("depends on nothing. #12 is like it", ""),
        ("Depends on Owner/Repo#5, johba/harb#6", "owner/repo#5 #6"),
        ("depends on https://codeberg.org/johba/harb/pulls/8#issuecomment-1", "#8"),
        ("depends on https://codeberg.org/a/b/issues/8", "a/b#8"),
        ("depends on #0, #12abc or #", ""),
        ("## Depends on\n- #1\n- [ ] #2\n- [x] me/lib#3 and more\n\n#4\n## Notes\n#5", "#1 #2 me/lib#3 #4"),
        ("### dependencies:\r\n* #1\r\n\r\n#### more\r\n#2\r\n### Other\r\n#3", "#1 #2"),
        ("Blocked by\n---\n1. #1\n2) ~~#2~~\n\nNext\n====\n#3", "#1"),
        ("**Blocked by**\n- #1\n\n## Other\n- #2", "#1"),
        ("## DEPENDS ON ##\nnone", ""),
        ("## Blocked by #3\ntext #4", "#3"),
        ("Depends on:\n- #1\n- #2\n\nLike #3", "#1 #2"),
        ("## Depends on\n```\n#1\n```\n> #2\nstill quoted #3\n\n    #4\n\n- `#5`\n<!-- #6\n#7 --> #8", "#8"),
        ("> depends on #1\n\ndepends on `#2`\n~~depends on #3~~\n~~~~\ndepends on #4\n~~~\n~~~~\nafter #5", "#5"),
        ("depends on `code` #4", ""),
        ("## Depends on\n| #1 | x |\n- #1", "#1"),
        ("- depends on #1\n- blocked by #2", "#1 #2"),
        ("", ""),
    ];
    for (body, expected) in rows {
        assert_eq!(on(body), expected, "{body}");
    }
}

fn item(class: order::Class, number: u64, minutes: i64) -> order::Item {
    order::Item { repo: "harb".into(), number, class, task: format!("harb#{number}"), since: at(minutes) }
}

#[test]
fn reviews_come_before_fixes_before_new_work_and_waiting_lifts() {
    use order::Class::{Fixes, New, Review};
    let sorted = |mut items: Vec<order::Item>| {
        order::sort(&mut items, at(0));
        items.iter().map(|item| item.number).collect::<Vec<_>>()
    };
    assert_eq!(sorted(vec![item(New, 1, 10), item(Fixes, 2, 10), item(Review, 3, 10)]), [3, 2, 1]);
    assert_eq!(sorted(vec![item(New, 1, 119), item(Fixes, 2, 0)]), [2, 1], "not yet two hours");
    assert_eq!(sorted(vec![item(New, 1, 120), item(Fixes, 2, 0)]), [1, 2], "as a fix, and older");
    assert_eq!(sorted(vec![item(New, 1, 240), item(Review, 2, 239), item(Review, 3, 241)]), [3, 1, 2]);
    assert_eq!(sorted(vec![item(Review, 9, 5), item(Review, 7, 5), item(Review, 8, -5)]), [7, 9, 8]);
    let mut items = vec![item(Fixes, 5, 9), order::Item { task: "harb#5".into(), ..item(Fixes, 6, 8) }];
    let later = order::one_a_task(&mut items);
    assert_eq!((items.len(), items[0].number, later[0].number), (1, 5, 6));
}

/// A case of several issues and pulls that have to do with each other.
fn any_case() -> impl Strategy<Value = Case> {
    let labels = proptest::sample::subsequence(vec!["backlog", "in-progress", "blocked", "underspecified"], 0..=2);
    let who = proptest::sample::subsequence(vec!["dev-bot", "anna"], 0..=1);
    let an_issue = (labels, who, proptest::option::of(1_u64..9), any::<bool>()).prop_map(|(labels, who, on, dev)| {
        let body = on.map(|on| format!("depends on #{on}")).unwrap_or_default();
        let labels = if dev { "backlog".to_owned() } else { labels.join(" ") };
        Issue { assignees: who.iter().map(|who| (*who).to_owned()).collect(), ..issue(0, &labels, &body) }
    });
    let state = proptest::sample::select(vec![State::Running, State::Success, State::Failure, State::Killed]);
    let says = proptest::sample::select(vec![YES, NO, WORD]);
    let a_review = (proptest::sample::select(vec!["review-bot", "anna"]), says, any::<bool>(), any::<bool>());
    let reviews = proptest::collection::vec(a_review, 0..4);
    let pipelines = proptest::collection::vec((any::<bool>(), state), 0..4);
    let a_pull = (proptest::option::of(1_u64..9), reviews, pipelines).prop_map(|(fixes, reviews, pipelines)| {
        let review = |(id, (who, says, old, dismissed)): (usize, (&str, Says, bool, bool))| Review {
            dismissed,
            ..review(id as u64, who, says, if old { OLD } else { HEAD })
        };
        let pipeline = |(number, (push, state)): (usize, (bool, State))| Pipeline {
            number: number as u64,
            ..ci(if push { "push" } else { "pull" }, state)
        };
        Pull {
            closes: fixes.into_iter().collect(),
            reviews: Some(reviews.into_iter().enumerate().map(review).collect()),
            pipelines: Some(pipelines.into_iter().enumerate().map(pipeline).collect()),
            ..pull(0)
        }
    });
    let issues = proptest::collection::vec(an_issue, 0..8);
    let pulls = proptest::collection::vec(a_pull, 0..4);
    let taken = proptest::collection::btree_set(1_u64..9, 0..3);
    (issues, pulls, taken, any::<bool>()).prop_map(|(mut issues, mut pulls, taken, known)| {
        let runs_as_of = known.then(|| at(0));
        issues.iter_mut().enumerate().for_each(|(at, issue)| issue.number = at as u64 + 1);
        pulls.iter_mut().enumerate().for_each(|(at, pull)| pull.number = at as u64 + 20);
        let taken = taken.into_iter().map(|number| task("harb", number)).collect();
        let facts = (5..8).map(|number| (Ref::new("johba/harb", number), Fact::Closed)).collect();
        Case { seen: Look { issues, pulls, facts, taken, runs_as_of, ..Look::default() }, ..Case::default() }
    })
}

proptest! {
    #[test]
    fn the_order_of_the_input_changes_no_verdict(case in any_case(), turn in 0_usize..8) {
        let mut turned = case.clone();
        let seen = &mut turned.seen;
        seen.issues.reverse();
        let turn_by = turn % seen.issues.len().max(1);
        seen.issues.rotate_left(turn_by);
        seen.pulls.reverse();
        for pull in &mut seen.pulls {
            pull.reviews.iter_mut().for_each(|all| all.reverse());
            pull.pipelines.iter_mut().for_each(|all| all.reverse());
        }
        prop_assert_eq!(case.judged(), turned.judged());
    }

    #[test]
    fn what_may_be_begun_is_never_claimed_and_has_no_pull(case in any_case()) {
        for (number, verdict) in case.judged().issues {
            if matches!(verdict, issue::Verdict::Ready | issue::Verdict::Orphaned) {
                prop_assert!(!case.seen.taken.contains(&task("harb", number)));
                prop_assert!(!case.seen.pulls.iter().any(|pull| pull.closes.contains(&number)));
            }
        }
    }

    #[test]
    fn every_open_pull_and_issue_is_judged_once_also_when_it_is_listed_twice(case in any_case()) {
        let once = case.judged();
        prop_assert_eq!(once.pulls.len(), case.seen.pulls.len());
        prop_assert_eq!(once.issues.len(), case.seen.issues.len());
        let mut twice = case.clone();
        twice.seen.pulls.extend(case.seen.pulls.iter().cloned());
        twice.seen.issues.extend(case.seen.issues.iter().cloned());
        prop_assert_eq!(twice.judged(), once);
    }

    #[test]
    fn only_what_was_approved_at_its_head_may_be_merged(case in any_case()) {
        let judged = case.judged();
        for pull in &case.seen.pulls {
            if judged.pulls[&pull.number] == pull::Verdict::Mergeable {
                let yes = |review: &Review| review.says == YES && review.commit == HEAD && !review.dismissed;
                prop_assert!(pull.reviews.iter().flatten().any(yes));
                prop_assert!(pull.pipelines.iter().flatten().any(|one| one.state == State::Success));
            }
        }
    }

    #[test]
    fn no_text_breaks_the_reader(body in "[-#>*_`~ \\[\\]()a-z0-9/!.:\n\té<]{0,200}") {
        let _ = depends::depends(&body, SLUG, FORGE);
    }

    #[test]
    fn the_queue_is_the_same_from_any_order(times in proptest::collection::vec((0_u8..3, -10_i64..600), 0..12)) {
        use order::Class::{Fixes, New, Review};
        let class = |class: u8| [Review, Fixes, New][usize::from(class)];
        let numbered = times.iter().enumerate();
        let mut items: Vec<order::Item> = numbered.map(|(at, (one, minutes))| item(class(*one), at as u64, *minutes)).collect();
        let mut turned = items.clone();
        turned.reverse();
        order::sort(&mut items, at(0));
        order::sort(&mut turned, at(0));
        prop_assert_eq!(items, turned);
    }
}
