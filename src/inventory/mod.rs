//! YAML files -> a typed, checked model: hosts, groups, patterns, repos, agents, policy.

pub mod hosts;
pub mod units;
pub mod yaml;
