//! The keys under which crontab lines are held: what stands in `#factory:KEY# `.

/// What a key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    /// The agent that the lines start.
    pub agent: &'a str,
    /// The repo, or `*`.
    pub repo: &'a str,
    /// They are disabled since it is ours to start, and not held.
    pub taken: bool,
}

const TAKEN: &str = "takeover:";

/// The key of the lines that start what is ours to start: `takeover:AGENT`.
pub fn taken(agent: &str) -> String {
    format!("{TAKEN}{agent}")
}

impl Key<'_> {
    /// What `key` says: `AGENT`, `AGENT@REPO` or `takeover:AGENT`.
    pub fn of(key: &str) -> Key<'_> {
        let bare = key.strip_prefix(TAKEN);
        let (agent, repo) = bare.unwrap_or(key).split_once('@').unwrap_or((bare.unwrap_or(key), "*"));
        Key { agent, repo, taken: bare.is_some() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_its_agent() {
        let key = |agent, repo, taken| Key { agent, repo, taken };
        assert_eq!(Key::of("dev"), key("dev", "*", false));
        assert_eq!(Key::of("dev@harb"), key("dev", "harb", false));
        assert_eq!(Key::of(&taken("dev")), key("dev", "*", true));
    }
}
