//! YAML files -> a typed, checked model: hosts, groups, patterns, repos, agents, policy.

pub mod agents;
pub mod de;
pub mod name;
pub mod policy;
pub mod repos;
pub mod schema;
pub mod secret;
pub mod settings;
pub mod units;
pub mod url;
pub mod yaml;
