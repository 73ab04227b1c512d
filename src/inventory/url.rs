//! Addresses of forges, CI and alert sinks.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::de::{Told, told};
use super::secret::{Access, SecretRef};
use crate::error::Result;

/// An `http://` or `https://` address without credentials and without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Url(String);

impl Url {
    /// Codeberg, the forge where none is written.
    pub fn codeberg() -> Url {
        Url("https://codeberg.org".to_owned())
    }

    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Splits off scheme and host, or says what is wrong.
fn check(text: &str) -> Result<(&str, &str), Told> {
    let like = "write it like `https://codeberg.org` or `http://127.0.0.1:8000`";
    let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https")) else {
        return Err(told("not an address that begins with `http://` or `https://`").help(like));
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(told("an address with a login in it")
            .help("remove everything up to the `@`, and give the token as `token: {env: NAME}`")
            .secret());
    }
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(told("not an address").help(like));
    }
    if port.is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0)) {
        return Err(told("an address whose port is no number from 1 to 65535").help(like));
    }
    Ok((scheme, authority))
}

impl<'de> Deserialize<'de> for Url {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        check(&text).map_err(de::Error::custom)?;
        Ok(Url(text.trim_end_matches('/').to_owned()))
    }
}

impl JsonSchema for Url {
    fn schema_name() -> Cow<'static, str> {
        "Url".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^https?://[^@\\s/]+(/\\S*)?$"})
    }
}

/// An address that is itself a secret, since whoever knows it may post there. Only scheme and host are ever shown.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(rename = "text:secret url", rename_all = "lowercase")]
#[schemars(rename = "SecretUrl", untagged)]
pub enum SecretUrl {
    /// Written in the file.
    Literal(HiddenUrl),
    /// Kept elsewhere.
    Kept(SecretRef),
}

/// The text of an address that is never shown whole.
#[derive(Clone)]
pub struct HiddenUrl(SecretString);

impl<'de> Deserialize<'de> for HiddenUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        check(&text).map_err(|told| de::Error::custom(told.secret()))?;
        Ok(HiddenUrl(SecretString::from(text)))
    }
}

impl JsonSchema for HiddenUrl {
    fn schema_name() -> Cow<'static, str> {
        "Url".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Url::json_schema(generator)
    }
}

impl SecretUrl {
    /// The address, whole.
    ///
    /// # Errors
    /// Where it is kept cannot be read, or holds no address.
    pub fn resolve(&self, access: &Access) -> Result<SecretString> {
        match self {
            SecretUrl::Literal(url) => Ok(url.0.clone()),
            SecretUrl::Kept(secret) => {
                let text = secret.resolve(access)?;
                if check(text.expose_secret()).is_err() {
                    return Err(crate::error::Error::inventory(format!("{secret} holds no http or https address"))
                        .help("put the whole address there, like https://ntfy.sh/TOPIC"));
                }
                Ok(text)
            }
        }
    }
}

impl fmt::Debug for SecretUrl {
    /// Scheme and host, or where it is kept.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for HiddenUrl {
    /// Scheme and host.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host) = check(self.0.expose_secret()).unwrap_or(("?", "?"));
        write!(f, "{scheme}://{host}/...")
    }
}

impl fmt::Display for SecretUrl {
    /// Scheme and host, or where it is kept.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretUrl::Literal(url) => fmt::Debug::fmt(url, f),
            SecretUrl::Kept(secret) => write!(f, "{secret}"),
        }
    }
}

impl Serialize for SecretUrl {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_web_addresses_pass() {
        for good in ["https://codeberg.org", "http://127.0.0.1:8000", "http://[::1]:80/x", "https://a.b/c?d=e"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in [
            "codeberg.org",
            "ftp://a",
            "https://",
            "https:///x",
            "https://u@h",
            "http://h:0",
            "http://h:x",
            "http://a b",
            "",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_secret_address_shows_only_its_host() {
        let url = SecretUrl::Literal(HiddenUrl(SecretString::from("https://ntfy.sh/my-topic".to_owned())));
        for shown in [format!("{url}"), format!("{url:?}"), serde_json::to_string(&url).unwrap()] {
            assert!(shown.contains("https://ntfy.sh") && !shown.contains("topic"), "{shown}");
        }
    }
}
