//! The keys of `repos.yml`, as written.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::inventory::agents::AgentKeys;
use crate::inventory::de::{told, words};
use crate::inventory::name;
use crate::inventory::secret::SecretRef;
use crate::inventory::url::Url;

/// The keys of `repos.yml`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "repos.yml")]
pub struct ReposFile {
    /// What every repo has unless it says otherwise: any key of a repo but `slug`. `labels`, `protection`, `env`,
    /// `agents`, `forge` and `ci` are merged key by key; everything else is replaced; an empty value (`token:`) takes
    /// the default away.
    #[serde(default)]
    pub defaults: Option<RepoKeys>,
    /// The repos by name.
    #[serde(default, deserialize_with = "name::map")]
    #[schemars(with = "BTreeMap<name::Name, RepoKeys>")]
    pub repos: BTreeMap<String, RepoKeys>,
}

/// The keys of a repo.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Repo")]
pub struct RepoKeys {
    /// Its path on the forge: `johba/harb`.
    pub slug: Slug,
    /// The branch that pulls go to. Default: the forge's default branch of the repo.
    #[serde(default, deserialize_with = "branch")]
    pub branch: Option<String>,
    /// Where it is hosted. Default `{kind: forgejo, url: https://codeberg.org}`.
    #[serde(default)]
    pub forge: Forge,
    /// The labels that say what state an issue is in.
    #[serde(default)]
    pub labels: Labels,
    /// The token that agents work with. Default: none, so only what the forge shows to everybody.
    pub token: Option<SecretRef>,
    /// The token of the account that reviews: another account than `token`'s, since a forge lets nobody approve their
    /// own pulls. Default: none.
    pub review_token: Option<SecretRef>,
    /// The CI that judges pulls; `none` where there is none. Default `none`.
    #[serde(default)]
    pub ci: Ci,
    /// What the branch's protection must be; `repo sync` makes it so. Default: left as it is.
    pub protection: Option<Protection>,
    /// A host pattern: where its agents may run. Default: all hosts.
    #[serde(default, deserialize_with = "pattern")]
    pub hosts: Option<String>,
    /// A directory below the inventory whose `*.md` override the shared practices. Default: none.
    #[serde(default, deserialize_with = "practices")]
    pub practices: Option<String>,
    /// Environment variables of its runs: text, or a secret such as `{env: NAME}`.
    #[serde(default)]
    pub env: BTreeMap<EnvKey, EnvValue>,
    /// Any key of an agent, for this repo only. Only agents that exist: new ones are made in `factory.yml`.
    #[serde(default, deserialize_with = "name::map")]
    #[schemars(with = "BTreeMap<name::Name, AgentKeys>")]
    pub agents: BTreeMap<String, AgentKeys>,
    /// Who merges approved green pulls: `agents`, by their own scripts, or `factory`, with each tick, also while a halt in
    /// a crontab stops the script there. Default `agents`.
    #[serde(default)]
    pub merge: Merge,
}

/// A repository's path on its forge: OWNER/NAME.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Slug(pub String);

impl<'de> Deserialize<'de> for Slug {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let part = |part: &str| {
            !part.is_empty()
                && part != "."
                && part != ".."
                && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
        };
        let good = |text: &str| text.split_once('/').is_some_and(|(owner, name)| part(owner) && part(name));
        if good(&text) {
            return Ok(Slug(text));
        }
        // People paste the address of the page or of the clone.
        let tail = text.trim_end_matches('/').trim_end_matches(".git");
        let mut parts = tail.rsplit(['/', ':']);
        let guess = match (parts.next(), parts.next()) {
            (Some(name), Some(owner)) => Some(format!("{owner}/{name}")).filter(|guess| good(guess)),
            _ => None,
        };
        let help = match guess.filter(|_| text.matches(['/', ':']).count() > 1) {
            Some(guess) => {
                format!("write `{guess}`, and the address of the forge as `forge: {{kind: forgejo, url: ...}}`")
            }
            None => "write it like `johba/harb`".to_owned(),
        };
        Err(de::Error::custom(told("must be OWNER/NAME, the repository's path on its forge").help(help)))
    }
}

impl JsonSchema for Slug {
    fn schema_name() -> Cow<'static, str> {
        "Slug".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$"})
    }
}

/// Where a repo is hosted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename = "kind:forge", rename_all = "lowercase", deny_unknown_fields)]
#[schemars(rename = "Forge", tag = "kind")]
pub enum Forge {
    /// Forgejo, as on Codeberg.
    Forgejo {
        /// The address of its front page.
        url: Url,
    },
}

impl Default for Forge {
    fn default() -> Self {
        Forge::Forgejo { url: Url::codeberg() }
    }
}

/// The labels that say what state an issue is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Labels {
    /// May be worked on.
    #[serde(deserialize_with = "words::filled")]
    pub ready: String,
    /// Is being worked on.
    #[serde(deserialize_with = "words::filled")]
    pub active: String,
    /// Waits for something else.
    #[serde(deserialize_with = "words::filled")]
    pub blocked: String,
    /// Lacks what is needed to begin.
    #[serde(deserialize_with = "words::filled")]
    pub unclear: String,
}

impl Default for Labels {
    fn default() -> Self {
        Labels {
            ready: "backlog".to_owned(),
            active: "in-progress".to_owned(),
            blocked: "blocked".to_owned(),
            unclear: "underspecified".to_owned(),
        }
    }
}

/// The CI that judges pulls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename = "kind:ci", rename_all = "lowercase", deny_unknown_fields)]
#[schemars(rename = "Ci", tag = "kind")]
pub enum Ci {
    /// There is none: every pull counts as green.
    #[default]
    None,
    /// Woodpecker.
    Woodpecker {
        /// The address of its front page.
        url: Url,
        /// The number of the repository there, from 1.
        #[serde(deserialize_with = "repo_id")]
        #[schemars(range(min = 1))]
        repo_id: u32,
        /// How many pipelines run at once.
        #[serde(default = "one", deserialize_with = "words::at_least_one")]
        #[schemars(range(min = 1))]
        workers: u32,
        /// An access token. Default: none, so only what it shows to everybody.
        token: Option<SecretRef>,
    },
    /// Forgejo Actions, on the forge of the repo (Forgejo 12 or newer), asked with its `token`: the statuses of the head
    /// commit decide, and what waits is read too.
    Actions {
        /// How many runs of workflows go on at once.
        #[serde(default = "one", deserialize_with = "words::at_least_one")]
        #[schemars(range(min = 1))]
        workers: u32,
    },
    /// Anything that sets commit statuses on the forge: those of the head commit decide. What waits is not known.
    Statuses,
}

fn one() -> u32 {
    1
}

fn repo_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    match u32::deserialize(deserializer)? {
        0 => Err(de::Error::custom(
            told("no repository has the number 0").help("a repo without CI is written `ci: none`"),
        )),
        id => Ok(id),
    }
}

/// What a branch's protection must be; what is left out is left as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Protection {
    /// How many approvals a pull needs. Default: left as it is.
    pub required_approvals: Option<u32>,
    /// The status checks that must pass; `*` matches any text; an empty list is none at all. Default: left as they are.
    pub status_checks: Option<Vec<String>>,
    /// The accounts that may merge; an empty list is whoever may write. Default: left as they are.
    pub merge_whitelist: Option<Vec<String>>,
}

/// Who merges approved green pulls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Merge {
    /// The agents' own scripts.
    #[default]
    Agents,
    /// We do.
    Factory,
}

/// The name of an environment variable that a repo may set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct EnvKey(pub String);

/// Variables that runs get from us.
pub const RESERVED: [&str; 3] = ["FACTORY_HOME", "FACTORY_PRACTICES", "FACTORY_RUN"];

impl<'de> Deserialize<'de> for EnvKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if RESERVED.contains(&text.as_str()) {
            let help = "choose another name: runs get this one from factory";
            return Err(de::Error::custom(told(format!("`{text}` is reserved")).help(help)));
        }
        let first = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if !first || !text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            let shown: String = text.escape_debug().take(60).collect();
            let help = "a name is letters, digits and `_`, and begins with no digit";
            return Err(de::Error::custom(told(format!("`{shown}` is no name of a variable")).help(help)));
        }
        Ok(EnvKey(text))
    }
}

impl JsonSchema for EnvKey {
    fn schema_name() -> Cow<'static, str> {
        "EnvKey".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"})
    }
}

/// The value of an environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename = "text:env", rename_all = "lowercase")]
#[schemars(rename = "EnvValue", untagged)]
pub enum EnvValue {
    /// As written; numbers and truth values count as text.
    Text(PlainText),
    /// Kept elsewhere.
    Kept(SecretRef),
}

/// Text as written, whatever YAML would make of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlainText(pub String);

impl JsonSchema for PlainText {
    fn schema_name() -> Cow<'static, str> {
        "PlainText".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "number", "boolean"]})
    }
}

fn branch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    // What git itself refuses in a name, and a leading dash, which would be an option.
    let bad = text.is_empty()
        || text.starts_with(['-', '/'])
        || text.ends_with(['/', '.'])
        || text.contains("..")
        || text.contains("@{")
        || text.chars().any(|c| c.is_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\'));
    if bad {
        return Err(de::Error::custom(told("not the name of a branch").help("write it like `main` or `release/1.0`")));
    }
    Ok(Some(text))
}

fn pattern<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    if text.trim().is_empty() {
        let help = "write a group, a host or a pattern such as `builders:!beefy-2`; leave it out for all hosts";
        return Err(de::Error::custom(told("an empty host pattern").help(help)));
    }
    Ok(Some(text))
}

fn practices<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    if text.trim().is_empty() || text.starts_with(['/', '~']) || text.split('/').any(|part| part == "..") {
        let help = "write it like `practices/harb`";
        return Err(de::Error::custom(told("must be a directory below the inventory").help(help)));
    }
    Ok(Some(text))
}
