//! Groups and hosts as they stand in `hosts.yml`, and what Ansible makes of them: every group under `all`, lone
//! hosts under `ungrouped`, and each group's depth.

use std::collections::{HashMap, HashSet, VecDeque};

use super::vars::VarSet;
use crate::error::Span;

/// How many groups there may be, and how many of them may be put into one another.
pub(super) const MAX_GROUPS: usize = 10_000;
/// How many parent-child pairs of groups there may be.
pub(super) const MAX_LINKS: usize = 50_000;
/// How deep groups may nest.
const MAX_DEPTH: usize = 255;

/// The index of the group `all`.
pub(super) const ALL: usize = 0;
/// The index of the group `ungrouped`.
pub(super) const UNGROUPED: usize = 1;

/// A group.
pub(super) struct Group {
    pub name: String,
    /// The longest way down from `all`.
    pub depth: usize,
    /// `ansible_group_priority`: among groups of one depth, the higher wins.
    pub priority: i64,
    /// Its own hosts, in order.
    pub hosts: Vec<usize>,
    pub children: Vec<usize>,
    pub parents: Vec<usize>,
    pub vars: VarSet,
    /// Where it was first named; the two implicit groups have no place.
    pub span: Option<Span>,
}

/// A host as written, before variables are merged.
pub(super) struct Entry {
    pub name: String,
    /// The groups that name it.
    pub groups: Vec<usize>,
    /// Groups that name it and yet do not reach it: see [`Groups::leave_ungrouped`].
    pub lost: HashSet<usize>,
    pub vars: VarSet,
    pub span: Span,
}

/// All groups and hosts, each in the order in which it was first named.
pub(super) struct Groups {
    pub groups: Vec<Group>,
    pub hosts: Vec<Entry>,
    by_group: HashMap<String, usize>,
    by_host: HashMap<String, usize>,
    members: HashSet<(usize, usize)>,
    links: HashMap<(usize, usize), Span>,
}

/// A group that would contain itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cycle {
    /// The names round the cycle, the first again at the end.
    pub names: Vec<String>,
    /// Where the link that closes it stands.
    pub span: Option<Span>,
}

impl Groups {
    /// `all` with `ungrouped` in it.
    pub fn new() -> Groups {
        let mut groups = Groups {
            groups: Vec::new(),
            hosts: Vec::new(),
            by_group: HashMap::new(),
            by_host: HashMap::new(),
            members: HashSet::new(),
            links: HashMap::new(),
        };
        groups.add_group("all", None);
        groups.add_group("ungrouped", None);
        groups.link(ALL, UNGROUPED, Span::default());
        groups
    }

    pub fn group(&self, name: &str) -> Option<usize> {
        self.by_group.get(name).copied()
    }

    pub fn host(&self, name: &str) -> Option<usize> {
        self.by_host.get(name).copied()
    }

    /// The index of the group `name`, new or not.
    pub fn add_group(&mut self, name: &str, span: Option<Span>) -> usize {
        if let Some(known) = self.group(name) {
            return known;
        }
        let (hosts, children, parents) = (Vec::new(), Vec::new(), Vec::new());
        let group = Group {
            name: name.to_owned(),
            depth: 0,
            priority: 1,
            hosts,
            children,
            parents,
            vars: VarSet::default(),
            span,
        };
        self.groups.push(group);
        self.by_group.insert(name.to_owned(), self.groups.len() - 1);
        self.groups.len() - 1
    }

    /// Puts the host `name` into `group`; its index and whether it is new.
    pub fn add_host(&mut self, name: &str, group: usize, span: Span) -> (usize, bool) {
        let (index, new) = match self.host(name) {
            Some(known) => (known, false),
            None => {
                self.hosts.push(Entry {
                    name: name.to_owned(),
                    groups: Vec::new(),
                    lost: HashSet::new(),
                    vars: VarSet::default(),
                    span,
                });
                self.by_host.insert(name.to_owned(), self.hosts.len() - 1);
                (self.hosts.len() - 1, true)
            }
        };
        self.join(index, group);
        (index, new)
    }

    fn join(&mut self, host: usize, group: usize) {
        if self.members.insert((group, host))
            && let (Some(into), Some(entry)) = (self.groups.get_mut(group), self.hosts.get_mut(host))
        {
            into.hosts.push(host);
            entry.groups.push(group);
        }
    }

    /// Puts `child` into `parent`.
    pub fn link(&mut self, parent: usize, child: usize, span: Span) {
        if self.links.contains_key(&(parent, child)) {
            return;
        }
        self.links.insert((parent, child), span);
        if let Some(group) = self.groups.get_mut(parent) {
            group.children.push(child);
        }
        if let Some(group) = self.groups.get_mut(child) {
            group.parents.push(parent);
        }
    }

    pub fn link_count(&self) -> usize {
        self.links.len()
    }

    /// Applies Ansible's rules once everything is read: groups without a parent go under `all`, hosts in no other
    /// group into `ungrouped`, and others out of it; then depths are measured.
    ///
    /// # Errors
    /// When a group would contain itself, or groups nest deeper than 255.
    pub fn reconcile(&mut self) -> Result<(), Cycle> {
        for index in 0..self.groups.len() {
            if index != ALL && self.groups.get(index).is_some_and(|group| group.parents.is_empty()) {
                self.link(ALL, index, Span::default());
            }
        }
        // A parent that someone gave to `ungrouped` counts as another group of its hosts.
        let plain_ungrouped = self.groups.get(UNGROUPED).is_some_and(|group| group.parents == [ALL]);
        for index in 0..self.hosts.len() {
            let Some(host) = self.hosts.get_mut(index) else { continue };
            if host.groups.contains(&UNGROUPED) {
                if !plain_ungrouped || host.groups.iter().any(|group| !matches!(*group, ALL | UNGROUPED)) {
                    self.leave_ungrouped(index, plain_ungrouped);
                }
            } else if host.groups.iter().all(|group| *group == ALL) {
                // Ansible looks the name up among the groups first.
                match self.by_group.get(&host.name).copied() {
                    Some(namesake) => self.link(UNGROUPED, namesake, Span::default()),
                    None => self.join(index, UNGROUPED),
                }
            }
        }
        self.measure()
    }

    /// Takes a host out of `ungrouped`. Where `ungrouped` was put into another group, Ansible then forgets that group
    /// for this host, even when it names the host itself, unless another group of the host lies in it.
    fn leave_ungrouped(&mut self, index: usize, plain: bool) {
        let Some(direct) = self.hosts.get(index).map(|host| host.groups.clone()) else { return };
        let mut lost = HashSet::from([UNGROUPED]);
        if !plain {
            let mut left: HashSet<usize> = self.with_ancestors(&direct).into_iter().collect();
            let mut leaving = vec![UNGROUPED];
            while let Some(group) = leaving.pop() {
                if !left.remove(&group) {
                    continue;
                }
                lost.insert(group);
                for above in self.with_ancestors(&[group]) {
                    let held =
                        left.iter().any(|other| *other != above && self.with_ancestors(&[*other]).contains(&above));
                    if above != ALL && above != group && !held {
                        leaving.push(above);
                    }
                }
            }
        }
        self.members.remove(&(UNGROUPED, index));
        if let Some(group) = self.groups.get_mut(UNGROUPED) {
            group.hosts.retain(|host| *host != index);
        }
        if let Some(host) = self.hosts.get_mut(index) {
            host.groups.retain(|group| *group != UNGROUPED);
            host.lost = lost;
        }
    }

    /// Sets each group's depth: the longest way down from `all`.
    fn measure(&mut self) -> Result<(), Cycle> {
        let mut waiting: Vec<usize> = self.groups.iter().map(|group| group.parents.len()).collect();
        let mut ready: VecDeque<usize> =
            waiting.iter().enumerate().filter(|(_, parents)| **parents == 0).map(|(at, _)| at).collect();
        while let Some(index) = ready.pop_front() {
            let Some((depth, children)) = self.groups.get(index).map(|group| (group.depth, group.children.clone()))
            else {
                continue;
            };
            for child in children {
                if let Some(group) = self.groups.get_mut(child) {
                    group.depth = group.depth.max(depth + 1);
                }
                if let Some(left) = waiting.get_mut(child) {
                    *left = left.saturating_sub(1);
                    if *left == 0 {
                        ready.push_back(child);
                    }
                }
            }
        }
        if let Some(start) = waiting.iter().position(|left| *left > 0) {
            return Err(self.cycle(start, &waiting));
        }
        match self.groups.iter().find(|group| group.depth > MAX_DEPTH) {
            Some(deep) => Err(Cycle { names: vec![deep.name.clone()], span: deep.span }),
            None => Ok(()),
        }
    }

    /// A cycle among the groups that are still `waiting`: from any of them, parents that wait lead round one.
    fn cycle(&self, start: usize, waiting: &[usize]) -> Cycle {
        let stuck = |index: &usize| waiting.get(*index).is_some_and(|left| *left > 0);
        let mut path = vec![start];
        let mut seen = HashMap::from([(start, 0)]);
        let mut at = start;
        while let Some(parent) = self.groups.get(at).and_then(|group| group.parents.iter().copied().find(stuck)) {
            if let Some(first) = seen.get(&parent) {
                path.drain(..*first);
                break;
            }
            seen.insert(parent, path.len());
            path.push(parent);
            at = parent;
        }
        path.push(path.first().copied().unwrap_or(start));
        // From child to parent so far; the reader thinks from the top.
        path.reverse();
        let span = path
            .windows(2)
            .filter_map(|pair| match pair {
                [parent, child] => self.links.get(&(*parent, *child)),
                _ => None,
            })
            .max_by_key(|span| span.start)
            .copied();
        let name = |index: &usize| self.groups.get(*index).map(|group| group.name.clone()).unwrap_or_default();
        Cycle { names: path.iter().map(name).collect(), span }
    }

    /// `group` and everything below it, breadth first, each once.
    pub fn descendants(&self, group: usize) -> Vec<usize> {
        self.walk(group, |group| &group.children)
    }

    /// Everything above the groups in `from`, and they themselves.
    pub fn with_ancestors(&self, from: &[usize]) -> Vec<usize> {
        let mut seen = HashSet::new();
        let mut out = Vec::new();
        let mut todo: Vec<usize> = from.to_vec();
        while let Some(index) = todo.pop() {
            if seen.insert(index) {
                out.push(index);
                todo.extend(self.groups.get(index).into_iter().flat_map(|group| &group.parents));
            }
        }
        out
    }

    fn walk(&self, from: usize, next: fn(&Group) -> &Vec<usize>) -> Vec<usize> {
        let mut seen = HashSet::from([from]);
        let mut out = vec![from];
        let mut at = 0;
        while let Some(group) = out.get(at).and_then(|index| self.groups.get(*index)) {
            for index in next(group) {
                if seen.insert(*index) {
                    out.push(*index);
                }
            }
            at += 1;
        }
        out
    }

    /// The hosts of `group` and of all groups below it, in Ansible's order, each once.
    pub fn hosts_of(&self, group: usize) -> Vec<usize> {
        let mut seen = HashSet::new();
        self.descendants(group)
            .into_iter()
            .filter_map(|index| self.groups.get(index))
            .flat_map(|group| group.hosts.iter().copied())
            .filter(|host| seen.insert(*host))
            .collect()
    }

    /// The groups of a host in the order in which their variables are laid over one another: depth, priority, name;
    /// without `all`.
    pub fn order_of(&self, host: &Entry) -> Vec<usize> {
        let mut order = self.with_ancestors(&host.groups);
        order.retain(|index| *index != ALL && !host.lost.contains(index));
        order.sort_by(|a, b| {
            let key = |index: &usize| self.groups.get(*index).map(|group| (group.depth, group.priority, &group.name));
            key(a).cmp(&key(b))
        });
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: usize) -> Span {
        Span { line: 1, column: start + 1, start, end: start + 1 }
    }

    #[test]
    fn depth_is_the_longest_way_down() {
        let mut groups = Groups::new();
        let [a, b, c] = ["a", "b", "c"].map(|name| groups.add_group(name, None));
        groups.link(a, c, at(1));
        groups.link(a, b, at(2));
        groups.link(b, c, at(3));
        groups.add_host("x", c, at(4));
        groups.reconcile().unwrap();
        let depths: Vec<usize> = groups.groups.iter().map(|group| group.depth).collect();
        assert_eq!(depths, [0, 1, 1, 2, 3]);
        assert_eq!(groups.order_of(&groups.hosts[0]), [a, b, c]);
    }

    #[test]
    fn a_cycle_is_named_with_the_place_that_closes_it() {
        let mut groups = Groups::new();
        let [a, b, c] = ["a", "b", "c"].map(|name| groups.add_group(name, None));
        groups.link(a, b, at(1));
        groups.link(b, c, at(2));
        groups.link(c, a, at(3));
        let cycle = groups.reconcile().unwrap_err();
        assert_eq!(cycle.names.first(), cycle.names.last());
        assert_eq!(cycle.names.len(), 4);
        assert_eq!(cycle.span, Some(at(3)));
    }

    #[test]
    fn lone_hosts_are_ungrouped_and_others_are_not() {
        let mut groups = Groups::new();
        let web = groups.add_group("web", None);
        groups.add_host("lone", ALL, at(1));
        groups.add_host("both", UNGROUPED, at(2));
        groups.add_host("both", web, at(3));
        groups.reconcile().unwrap();
        let names: Vec<&str> =
            groups.groups[UNGROUPED].hosts.iter().map(|host| groups.hosts[*host].name.as_str()).collect();
        assert_eq!(names, ["lone"]);
    }
}
