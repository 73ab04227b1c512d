//! What the pressure ladder holds on a host, in the form of holds: they go into halt files and crontabs beside those of
//! people, as lines of their own. They are made anew from the rung each time; no ledger keeps them, nobody lifts them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::inventory::agents::Class;
use crate::policy::ci_load::{CiStanding, holds};
use crate::policy::ladder::{Mode, Standing};

use super::wanted::Model;
use super::{Hold, Pick, Scope};

/// The ids of the ladder's lines, by the class that they hold.
pub const LADDER: [(Class, &str); 3] =
    [(Class::Dev, "ladder-dev"), (Class::Review, "ladder-review"), (Class::Supervisor, "ladder-supervisor")];

/// The id of the lines that stand for the load of a repo's CI.
pub const CI: &str = "ladder-ci";

/// The ids of all lines that are not a person's.
pub fn ids() -> impl Iterator<Item = &'static str> {
    LADDER.iter().map(|(_, id)| *id).chain([CI])
}

/// The class that a line with this id holds.
pub fn ladder_class(id: &str) -> Option<Class> {
    LADDER.iter().find(|(_, ladder)| *ladder == id).map(|(class, _)| *class)
}

/// What the ladder holds on `host`, in the name of `by`.
pub fn auto(host: &str, standing: &Standing, model: &Model, by: &str) -> Vec<Hold> {
    let hold = |(class, id): &(Class, &str)| {
        let held = standing.held.get(class).filter(|_| standing.shown(*class) > Mode::Run)?;
        Some(Hold {
            id: (*id).to_owned(),
            scope: Scope {
                hosts: Pick::one(host),
                repo: Pick::All,
                agent: Pick::Names(model.of_class(*class).map(str::to_owned).collect()),
                supervisor: false,
            },
            by: by.to_owned(),
            since: held.since,
            until: None,
            reason: Some(held.why.clone()),
            found: None,
            ended: None,
        })
    };
    LADDER.iter().filter_map(hold).collect()
}

/// What is held on `host` since the CI of a repo has too much to do: dev agents of that repo, then reviews too.
pub fn by_ci(host: &str, repos: &BTreeMap<String, CiStanding>, model: &Model, by: &str) -> Vec<Hold> {
    let hold = |(repo, standing): (&String, &CiStanding)| {
        let level = standing.state.level();
        let classes = [Class::Dev, Class::Review].into_iter().filter(|class| holds(level, *class));
        let agents = classes.flat_map(|class| model.of_class(class)).map(str::to_owned).collect::<BTreeSet<_>>();
        (!agents.is_empty()).then(|| Hold {
            id: CI.to_owned(),
            scope: Scope {
                hosts: Pick::one(host),
                repo: Pick::one(repo),
                agent: Pick::Names(agents),
                supervisor: false,
            },
            by: by.to_owned(),
            since: standing.since.unwrap_or(Timestamp::UNIX_EPOCH),
            until: None,
            reason: Some(format!("CI: {}", standing.why)),
            found: None,
            ended: None,
        })
    };
    repos.iter().filter_map(hold).collect()
}
