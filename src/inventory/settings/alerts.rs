//! Who is told, how often, and the dead man's switch.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::seconds;
use crate::inventory::de::words;
use crate::inventory::secret::SecretRef;
use crate::inventory::units::Span;
use crate::inventory::url::{SecretUrl, Url};

/// Alerting. The times mean what they mean in Alertmanager.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Alerts {
    /// Where alerts go. Default: nowhere but the journal.
    pub sinks: Vec<Sink>,
    /// A dead man's switch outside, told at each tick. Default: none.
    pub heartbeat: Option<Heartbeat>,
    /// How long a new group of alerts waits for more of its kind.
    pub group_wait: Span,
    /// How long until a group that has changed is told again.
    pub group_interval: Span,
    /// How long until an alert that still stands is told again.
    pub repeat: Span,
    /// How long one call of a sink or of the heartbeat may take.
    pub timeout: Span,
}

impl Default for Alerts {
    fn default() -> Self {
        Alerts {
            sinks: Vec::new(),
            heartbeat: None,
            group_wait: seconds(30),
            group_interval: seconds(300),
            repeat: seconds(4 * 3600),
            timeout: seconds(10),
        }
    }
}

/// Where alerts go.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename = "kind:sink", rename_all = "lowercase", deny_unknown_fields)]
#[schemars(rename = "Sink", tag = "kind")]
pub enum Sink {
    /// A POST of our JSON.
    Webhook {
        /// The address: itself a secret, so better `{env: NAME}`, `{file: PATH}` or `{command: [...]}`.
        url: SecretUrl,
        /// The key of an HMAC over the body. Default: none.
        secret: Option<SecretRef>,
    },
    /// ntfy.
    Ntfy {
        /// The address with the topic: itself a secret, so better `{env: NAME}`.
        url: SecretUrl,
        /// An access token. Default: none.
        token: Option<SecretRef>,
    },
    /// A Matrix room.
    Matrix {
        /// The homeserver.
        url: Url,
        /// The room's id, `"!abc:example.org"`.
        #[serde(deserialize_with = "words::filled")]
        room: String,
        /// The access token of the account that posts.
        token: SecretRef,
    },
    /// Slack, Mattermost and others with its incoming webhooks.
    Slack {
        /// The webhook's address: itself a secret, so better `{env: NAME}`.
        url: SecretUrl,
    },
}

/// A dead man's switch outside: it raises the alarm when we fall silent.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// The address that is called: itself a secret, so better `{env: NAME}`.
    pub url: SecretUrl,
}
