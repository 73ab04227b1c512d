//! What is decided on: quiet hosts with two running agents each, and repos with so many open issues and pulls.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use factory::error::Diagnostics;
use factory::inventory::Inventory;
use factory::inventory::locate::{Found, Location};
use factory::journal::HostRecord;
use factory::policy::hold::{Model, Plan, Showing, Sighting, plan};
use factory::policy::ladder::Standing;
use factory::policy::queue::{Event, Fact, Issue, Pipeline, Pull, Ref, Review, Says, State};
use factory::policy::roster::Roster;
use factory::remote::sample::{Mem, Psi, Run, Sample, Swap, Vm};
use factory::tick::backlog::{Book, Known, KnownPull, Runs, Settled};
use factory::tick::decide::{decide, latches};
use factory::tick::pressure::Ladder;
use jiff::{SignedDuration, Timestamp};

/// When it is.
const NOW: i64 = 1_773_014_400;

/// How much there is in each repo.
#[derive(Clone, Copy)]
pub struct Size {
    /// Open issues.
    pub issues: u64,
    /// Open pulls.
    pub pulls: u64,
}

/// A host as the last tick left it.
pub struct Host {
    /// Its record.
    pub record: HostRecord,
    /// Where it stands on the ladder.
    pub standing: Standing,
    /// What it shows of holds.
    pub shown: BTreeMap<String, Showing>,
}

/// All that is decided on.
pub struct Ground {
    /// The inventory.
    pub inventory: Inventory,
    /// The ladder.
    pub ladder: Ladder,
    /// The new sample of each host.
    pub samples: Vec<Sample>,
    /// The hosts, in the same order.
    pub known: Vec<Host>,
    /// What is known of runs.
    pub runs: Runs,
    /// When it is.
    pub now: Timestamp,
    model: Model,
    books: Vec<Book>,
}

impl Ground {
    /// With `many` hosts and as many repos.
    pub fn new(many: usize, size: Size) -> Result<Ground, String> {
        let now = Timestamp::from_second(NOW).map_err(|error| error.to_string())?;
        let inventory = inventory(many)?;
        let roster = Roster::of(&inventory.settings, &inventory.repos);
        let ladder = Ladder::new(&inventory.settings.policy, roster, Duration::from_secs(10));
        let samples = |up: f64| (0..many).map(|host| sample(host, up, now)).collect::<Vec<_>>();
        let first = samples(3600.0).into_iter().map(|sample| known(&inventory, &ladder, sample));
        let books = inventory.repos.repos.iter().map(|repo| {
            let of = |slug: &str| format!("https://codeberg.org/{slug}");
            book(of(&repo.slug), size, now)
        });
        Ok(Ground {
            known: first.collect(),
            samples: samples(3660.0),
            runs: Runs {
                blind: false,
                taken: (0..many).map(|repo| format!("r{repo}#1")).collect(),
                known: inventory.repos.repos.iter().map(|repo| (repo.name.clone(), now)).collect(),
            },
            model: Model::of(&inventory.settings, &inventory.repos),
            books: books.collect(),
            inventory,
            ladder,
            now,
        })
    }

    /// Whether there is nothing to do anywhere.
    pub fn empty(&self) -> bool {
        self.books.iter().all(|book| book.issues.is_empty())
    }

    /// What is to be done on a host for its holds.
    pub fn plan(&self, sample: &Sample, known: &Host) -> Plan {
        let sighting = Sighting::of(sample.found.as_deref().unwrap_or_default());
        plan(&sample.host, &[], &self.model, &known.shown, &sighting, 7, true)
    }

    /// The repos with what is known of them.
    pub fn repos(&self) -> Vec<Known<'_>> {
        self.inventory.repos.repos.iter().zip(&self.books).map(|(repo, book)| Known { repo, book }).collect()
    }
}

/// Hosts and repos with the agents of the starter.
fn inventory(many: usize) -> Result<Inventory, String> {
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut hosts = String::from("all:\n  hosts:\n");
    let mut repos = String::from("defaults:\n  forge: {kind: forgejo, url: https://codeberg.org}\nrepos:\n");
    for one in 0..many {
        let _ = writeln!(hosts, "    h{one}:");
        let _ = writeln!(repos, "  r{one}: {{slug: team/r{one}, ci: none}}");
    }
    let agent = |class: &str| format!("  {class}: {{class: {class}, start: factory, command: [run]}}\n");
    let settings = format!("fleet: bench\nagents:\n{}{}", agent("dev"), agent("review"));
    for (name, text) in [("hosts.yml", hosts), ("repos.yml", repos), ("factory.yml", settings)] {
        std::fs::write(dir.path().join(name), text).map_err(|error| error.to_string())?;
    }
    let at = dir.path().to_path_buf();
    let location = Location { hosts_yml: at.join("hosts.yml"), dir: at, found: Found::Named };
    let mut problems = Diagnostics::default();
    Inventory::load(location, &mut problems).ok_or_else(|| format!("the inventory is wrong: {problems:?}"))
}

/// A host that is well: two agents run.
fn sample(host: usize, uptime: f64, now: Timestamp) -> Sample {
    let run = |agent: &str| Run {
        token: format!("20260309T000000Z-{agent}-{host:08x}"),
        state: "RUNNING".into(),
        agent: Some(agent.into()),
        task: Some(format!("r{host}#1")),
        rss: Some(900 << 20),
        oom_kills: Some(0),
        ..Run::default()
    };
    let mut sample = Sample::unknown(format!("h{host}"), now);
    sample.boot_id = Some(format!("b{host}"));
    sample.uptime_s = Some(uptime);
    sample.cores = Some(8);
    sample.load = Some([1.5, 1.4, 1.3]);
    sample.mem = Some(Mem { total: Some(16 << 30), available: Some(9 << 30) });
    sample.swap = Some(Swap { total: Some(2 << 30), free: Some(2 << 30) });
    sample.psi = Some(Psi {
        cpu_some_avg60: Some(3.0),
        memory_some_avg10: Some(0.0),
        memory_full_avg10: Some(0.0),
        io_full_avg60: Some(0.1),
    });
    sample.vm = Some(Vm { oom_kill: Some(0), ..Vm::default() });
    sample.runs = Some(vec![run("dev"), run("review")]);
    sample.found = Some(Vec::new());
    sample
}

/// A host after this sample, as the journal and the ledger have it.
fn known(inventory: &Inventory, ladder: &Ladder, sample: Sample) -> Host {
    let decided = decide(None, latches(None), &inventory.settings.policy, sample);
    let standing = ladder.look(None, &decided, &BTreeMap::new(), 0.0, true).standing;
    Host { record: decided.record, standing, shown: BTreeMap::new() }
}

/// A repo of whose issues half are ready and a fifth wait for another one, and of whose pulls half are approved.
fn book(of: String, size: Size, now: Timestamp) -> Book {
    let ago = |minutes: u64| now - SignedDuration::from_mins(i64::try_from(minutes).unwrap_or_default());
    let slug = of.trim_start_matches("https://codeberg.org/").to_owned();
    let issue = |number: u64| Issue {
        number,
        title: format!("What is to be done, part {number}"),
        depends: if number.is_multiple_of(5) { vec![Ref::new(&slug, number + 1)] } else { Vec::new() },
        labels: if number.is_multiple_of(2) { vec!["backlog".into()] } else { Vec::new() },
        assignees: Vec::new(),
        open: true,
        pull: false,
        since: ago(number),
    };
    let pull = |number: u64| {
        let head = format!("{number:040x}");
        let review = Review {
            id: number,
            author: "review-bot".into(),
            says: if number.is_multiple_of(2) { Says::Approved } else { Says::ChangesRequested },
            commit: head.clone(),
            dismissed: false,
            stale: false,
            official: true,
        };
        let green = Pipeline {
            number,
            event: Event::Pull(Some(number)),
            commit: head.clone(),
            state: State::Success,
            unfetched: false,
            steps: None,
        };
        Pull {
            number,
            title: format!("fix: part {number}"),
            closes: BTreeSet::from([number - 500]),
            author: "dev-bot".into(),
            base: "master".into(),
            branch: format!("fix/issue-{}", number - 500),
            head,
            head_at: ago(number),
            open: true,
            draft: false,
            mergeable: Some(true),
            reviews: Some(vec![review]),
            statuses: Some(Vec::new()),
            pipelines: Some(vec![green]),
            untold: None,
        }
    };
    let known = |number: u64| KnownPull {
        pull: pull(number),
        updated: now,
        reviews_at: Some(now),
        statuses_at: Some(now),
        searched: true,
        blocked: None,
    };
    Book {
        seen: Some(now),
        settled: Some(Settled {
            at: now,
            branch: "master".into(),
            account: Some("dev-bot".into()),
            reviewer: Some("review-bot".into()),
            approvals: 1,
            ..Settled::default()
        }),
        issues: (1..=size.issues).map(issue).collect(),
        pulls: (501..501 + size.pulls).map(known).collect(),
        facts: BTreeMap::from([(
            Ref::new("team/lib", 1),
            factory::tick::backlog::KnownFact { fact: Fact::Closed, at: now },
        )]),
        of,
        ..Book::default()
    }
}
