//! Exit codes: a documented, tested part of the command line's contract.

/// What a process ends with. One meaning a number; where several apply, [`Exit::worst`] picks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// 0: done.
    Ok,
    /// 1: an action failed.
    Failed,
    /// 2: the command line is wrong.
    Usage,
    /// 3: the inventory is wrong, or a pattern matches nothing.
    Inventory,
    /// 4: a host was not reached, not verified, or refused the login.
    Unreachable,
    /// 5: the lock or the lease is held by another.
    Locked,
    /// 6: refused because of a hold.
    Held,
    /// 7: `--check --exit-code` found changes.
    Changes,
    /// 101: a bug in this program.
    Bug,
    /// 130: interrupted.
    Interrupted,
}

/// Which code wins when several apply, the first first.
const RANK: [Exit; 9] = [
    Exit::Interrupted,
    Exit::Bug,
    Exit::Usage,
    Exit::Inventory,
    Exit::Locked,
    Exit::Held,
    Exit::Failed,
    Exit::Unreachable,
    Exit::Changes,
];

impl Exit {
    /// The number that the process ends with.
    pub fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Inventory => 3,
            Exit::Unreachable => 4,
            Exit::Locked => 5,
            Exit::Held => 6,
            Exit::Changes => 7,
            Exit::Bug => 101,
            Exit::Interrupted => 130,
        }
    }

    /// What another `factory` ended with; 1 for a number that is none of ours.
    pub fn of(code: i32) -> Exit {
        let known = [Exit::Ok].into_iter().chain(RANK);
        known.into_iter().find(|exit| i32::from(exit.code()) == code).unwrap_or(Exit::Failed)
    }

    /// The one code that stands for all of `exits`: the first of 130, 101, 2, 3, 5, 6, 1, 4, 7, else 0.
    pub fn worst(exits: impl IntoIterator<Item = Exit>) -> Exit {
        let seen: Vec<Exit> = exits.into_iter().collect();
        RANK.into_iter().find(|rank| seen.contains(rank)).unwrap_or(Exit::Ok)
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        std::process::ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_documented_order_wins() {
        let order: Vec<u8> = RANK.iter().map(|exit| exit.code()).collect();
        assert_eq!(order, [130, 101, 2, 3, 5, 6, 1, 4, 7]);
        for (i, winner) in RANK.iter().enumerate() {
            let mut rest: Vec<Exit> = RANK[i..].to_vec();
            rest.reverse();
            rest.insert(0, Exit::Ok);
            assert_eq!(Exit::worst(rest), *winner);
        }
        assert_eq!(Exit::worst([]), Exit::Ok);
        assert_eq!(Exit::worst([Exit::Ok]), Exit::Ok);
    }
}
