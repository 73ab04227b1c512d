//! YAML files -> a typed, checked model: hosts, groups, patterns, repos, agents, policy.

pub mod allow;
pub mod locate;
pub mod policy;
pub mod units;
pub mod yaml;
