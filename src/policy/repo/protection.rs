//! The protection of the branch that pulls go to.

use super::{Access, Branch, Change, Difference, Fix, Found, Lack, Level, Rule, Token, Told, What};
use crate::inventory::repos;

/// A key of the protection and its value on either side, as a line of a diff.
struct Key {
    name: &'static str,
    found: String,
    wanted: String,
    to: Change,
}

/// The protection as it is: as far as it is seen.
struct Now<'a> {
    required_approvals: u32,
    status_checks: Option<&'a [String]>,
    /// Not known to who does not administer the repo.
    merge_whitelist: Option<Option<&'a [String]>>,
}

impl<'a> Now<'a> {
    fn of(branch: &'a Branch, rule: Option<&'a Rule>) -> Now<'a> {
        let whitelist = |rule: &'a Rule| rule.merge_whitelist.as_deref();
        Now {
            required_approvals: rule.map_or(branch.required_approvals, |rule| rule.required_approvals),
            status_checks: rule.map_or(&branch.status_checks, |rule| &rule.status_checks).as_deref(),
            // Where there is no protection, nothing of it is hidden.
            merge_whitelist: rule.map(whitelist).or((!branch.protected).then_some(None)),
        }
    }
}

impl Told<'_> {
    /// What of the wanted protection is not so.
    pub(super) fn protection(&mut self, found: &Found) {
        let Some(wanted) = self.repo.protection.clone() else { return self.nobody_merges(found) };
        let (Some(Ok(Some(branch))), Some(name)) = (&found.branch, &found.branch_name) else { return };
        let rule = match &found.rule {
            Some(Ok(rule)) => Some(rule),
            Some(Err(unread)) if unread.lack == Lack::Silent => return self.unread(What::Protection, "", unread),
            _ => None,
        };
        let now = Now::of(branch, rule);
        let mut keys = self.keys(&wanted, &now);
        let new = !branch.protected;
        let pattern = rule.map(|rule| rule.name.as_str()).filter(|rule| *rule != name && !rule.is_empty());
        let settled = self.whitelist(&wanted, &now, found, &mut keys);
        let (help, applied) = self.way(found, name, new, pattern);
        for key in keys {
            let message = format!("{} is {}, not {}", key.name, key.found, key.wanted);
            let fix = Change { name: name.clone(), new, ..key.to };
            self.all.push(Difference {
                what: What::Protection,
                subject: subject(name, new),
                level: Level::Error,
                message,
                help: help.clone(),
                found: (!new).then(|| format!("{}: {}", key.name, key.found)),
                wanted: Some(format!("{}: {}", key.name, key.wanted)),
                fix: applied.then_some(Fix::Protection(fix)),
            });
        }
        if settled {
            self.nobody_merges(found);
        }
    }

    /// The keys that the inventory names and that are otherwise.
    fn keys(&self, wanted: &repos::Protection, now: &Now<'_>) -> Vec<Key> {
        let mut keys = Vec::new();
        if let Some(approvals) = wanted.required_approvals
            && approvals != now.required_approvals
        {
            let (found, wanted) = (now.required_approvals.to_string(), approvals.to_string());
            let to = Change { required_approvals: Some(approvals), ..Change::default() };
            keys.push(Key { name: "required_approvals", found, wanted, to });
        }
        if let Some(checks) = &wanted.status_checks {
            let same = match now.status_checks {
                Some(found) => !checks.is_empty() && sorted(checks, false) == sorted(found, false),
                None => checks.is_empty(),
            };
            if !same {
                let found = match now.status_checks {
                    Some([]) => "all that there are".to_owned(),
                    Some(found) => found.join(", "),
                    None => "none".to_owned(),
                };
                let to = Change { status_checks: Some(checks.clone()), ..Change::default() };
                keys.push(Key { name: "status_checks", found, wanted: listed(checks, "none"), to });
            }
        }
        if let (Some(accounts), Some(found)) = (&wanted.merge_whitelist, now.merge_whitelist) {
            let same = match found {
                Some(found) => !accounts.is_empty() && sorted(accounts, true) == sorted(found, true),
                None => accounts.is_empty(),
            };
            if !same {
                let all = "whoever may write";
                let found = found.map_or_else(|| all.to_owned(), |found| listed(found, "nobody"));
                let to = Change { merge_whitelist: Some(accounts.clone()), ..Change::default() };
                keys.push(Key { name: "merge_whitelist", found, wanted: listed(accounts, all), to });
            }
        }
        keys
    }

    /// What stands against the wanted merge whitelist; with that its key is taken out of `keys`. Gives whether the
    /// whitelist is known and stays as it is.
    fn whitelist(&mut self, wanted: &repos::Protection, now: &Now<'_>, found: &Found, keys: &mut Vec<Key>) -> bool {
        let Some(accounts) = &wanted.merge_whitelist else { return true };
        if now.merge_whitelist.is_none() {
            self.unseen(accounts, found);
            return false;
        }
        let slug = &self.repo.slug;
        let mut against = Vec::new();
        for (login, may) in &found.permissions {
            let help = "repo settings on the forge, Collaborators: give it write access; then it can be in the list";
            match may.as_deref() {
                Ok("write" | "admin" | "owner") => {}
                Ok(may) => {
                    let has = if may == "none" { "no access to".to_owned() } else { format!("only `{may}` in") };
                    let message = format!("{login} has {has} {slug}, so the forge leaves it out of merge_whitelist");
                    against.push((Level::Error, message, help.to_owned()));
                }
                Err(unread) if unread.lack == Lack::Missing => {
                    let message = format!("no account is called {login}, which merge_whitelist names");
                    against.push((Level::Error, message, "check `merge_whitelist` in repos.yml".to_owned()));
                }
                Err(unread) => {
                    let level = if unread.lack == Lack::Silent { Level::Unknown } else { Level::Error };
                    let message = format!("whether {login} may write is not known: {}", unread.message);
                    against.push((level, message, unread.help.clone()));
                }
            }
        }
        let differs = keys.iter().any(|key| key.name == "merge_whitelist");
        if !against.is_empty() {
            keys.retain(|key| key.name != "merge_whitelist");
        }
        let barred = !against.is_empty() && differs;
        for (level, message, help) in against {
            let not = if barred { "; the list is not changed" } else { "" };
            self.push(What::Protection, level, format!("{message}{not}"), help);
        }
        !differs
    }

    /// The whitelist where nobody may see it: what is known of our own accounts has to fit.
    fn unseen(&mut self, accounts: &[String], found: &Found) {
        let listed = |login: &str| accounts.iter().any(|account| account.eq_ignore_ascii_case(login));
        let known = |access: &Access| Some((access.login()?.to_owned(), access.may_merge?, pushes(access, found)));
        let all: Vec<_> = [&found.own, &found.reviewer].into_iter().filter_map(known).collect();
        let wrong =
            all.iter().find(|(login, may, push)| *may != if accounts.is_empty() { *push } else { listed(login) });
        let (level, message) = match wrong {
            Some((login, true, _)) => {
                (Level::Error, format!("{login} may merge, and merge_whitelist does not name it"))
            }
            Some((login, false, _)) => (Level::Error, format!("{login} may not merge, as merge_whitelist wants it")),
            None => {
                let told =
                    all.iter().map(|(login, may, _)| format!("{login} may {}merge", if *may { "" } else { "not " }));
                let told = told.collect::<Vec<_>>().join(" and ");
                let fits = if told.is_empty() { String::new() } else { format!("; that {told} fits") };
                (Level::Hint, format!("who else is in merge_whitelist is not known{fits}"))
            }
        };
        let help = "only an administrator of the repo sees the list: check it with the token of one";
        self.push(What::Protection, level, message, help);
    }

    /// What is to be done about a difference, and whether `repo sync` does it.
    fn way(&self, found: &Found, name: &str, new: bool, pattern: Option<&str>) -> (String, bool) {
        let scope = found.own.repository.as_ref().and_then(|has| has.as_ref().ok()).copied();
        if let Some(barred) = self.barred(found, scope) {
            return (barred, false);
        }
        if let Some(pattern) = pattern {
            let help = format!(
                "it is the protection `{pattern}`, which is for other branches too: change it on the forge, or make one for `{name}` there"
            );
            return (help, false);
        }
        let admin = found.home.as_ref().is_ok_and(|home| home.rights.admin);
        if let (true, Some(Err(unread))) = (admin, &found.rule) {
            return (unread.help.clone(), false);
        }
        match (admin, new) {
            (false, _) => {
                let who = found.own.login().unwrap_or("the token's account");
                let help =
                    format!("{who} does not administer the repo: run {} with the token of one who does", self.sync());
                (help, false)
            }
            (true, true) => {
                (format!("{} makes it: then nobody can push to `{name}` any more, only merge", self.sync()), true)
            }
            (true, false) => (format!("{} changes it", self.sync()), true),
        }
    }

    /// Pulls that none of our accounts may merge.
    fn nobody_merges(&mut self, found: &Found) {
        let (own, reviewer) = (&found.own, &found.reviewer);
        let writes = found.home.as_ref().is_ok_and(|home| home.rights.push);
        if own.may_merge != Some(false) || !writes {
            return;
        }
        let (Some(branch), first) = (&found.branch_name, own.login().unwrap_or("the account of `token`")) else {
            return;
        };
        let who = match (&reviewer.token, reviewer.may_merge) {
            (Token::None, _) => format!("{first} may not merge into `{branch}`"),
            (_, Some(false)) => {
                let second = reviewer.login().unwrap_or("the account of `review_token`");
                format!("neither {first} nor {second} may merge into `{branch}`")
            }
            _ => return,
        };
        let help = "put one of them into the merge whitelist of the branch, or see who merges";
        self.push(What::Protection, Level::Hint, who, help);
    }
}

/// Whether an account may write.
fn pushes(access: &Access, found: &Found) -> bool {
    match &access.rights {
        Some(Ok(rights)) => rights.push,
        _ => found.home.as_ref().is_ok_and(|home| home.rights.push),
    }
}

fn subject(name: &str, new: bool) -> String {
    if new { format!("protection of `{name}`, which has none") } else { format!("protection of `{name}`") }
}

/// A list whose order does not matter, each item once.
fn sorted(list: &[String], any_case: bool) -> Vec<String> {
    let fold = |item: &String| if any_case { item.to_lowercase() } else { item.clone() };
    let mut list: Vec<String> = list.iter().map(fold).collect();
    list.sort();
    list.dedup();
    list
}

fn listed(list: &[String], none: &str) -> String {
    if list.is_empty() { none.to_owned() } else { list.join(", ") }
}
