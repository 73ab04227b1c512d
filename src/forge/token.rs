//! A token as it is sent: only ever in the `Authorization` header.

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use crate::error::{Error, Result};

/// A token that can be sent. It cannot be printed.
#[derive(Clone)]
pub(super) struct Token {
    secret: SecretString,
    header: HeaderValue,
}

impl Token {
    /// Checks that the token can be sent unchanged.
    ///
    /// # Errors
    /// Exit 3: it is empty, or holds white space or a control character, which a header or the server would change. The
    /// message does not hold it.
    pub(super) fn new(secret: &SecretString, shown: &str) -> Result<Token> {
        let text = secret.expose_secret();
        let refused = |what: &str| {
            Error::inventory(format!("the token for {shown} {what}"))
                .help("copy it once more, alone and without quotes, from the page that made it")
        };
        if text.is_empty() {
            return Err(refused("is empty"));
        }
        if text.chars().any(char::is_control) {
            return Err(refused("holds a line break or another control character"));
        }
        if text.chars().any(char::is_whitespace) {
            return Err(refused("holds a space"));
        }
        // Both Forgejo and Woodpecker take this scheme, in all versions that are spoken to.
        let mut header = HeaderValue::from_bytes(format!("Bearer {text}").as_bytes())
            .map_err(|_| refused("holds a character that no header can"))?;
        header.set_sensitive(true);
        Ok(Token { secret: secret.clone(), header })
    }

    pub(super) fn header(&self) -> HeaderValue {
        self.header.clone()
    }

    /// `text` without the token, should a server send it back: as it is, or quoted as JSON and parsers do.
    pub(super) fn masked(&self, text: &str) -> String {
        let token = self.secret.expose_secret();
        let quoted = serde_json::to_string(token).unwrap_or_default();
        let quoted = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(token);
        let text = text.replace(token, "***").replace(quoted, "***");
        text.replace(&token.escape_debug().to_string(), "***")
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_header_would_change_is_refused_without_showing_it() {
        for bad in ["", "hunter2\r\nX: y", "hunter2 x", "hunter2\u{7f}", "hunter2\t"] {
            let error = Token::new(&SecretString::from(bad), "https://codeberg.org").unwrap_err();
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
        let awkward = "a\"b\\'$(x)`%41&;=ü*{}";
        let token = Token::new(&SecretString::from(awkward), "").unwrap();
        assert_eq!(token.header().as_bytes(), format!("Bearer {awkward}").as_bytes());
        for shown in
            [format!("{token:?}"), format!("{:?}", token.header()), token.masked(&format!("bad token {awkward}"))]
        {
            assert!(!shown.contains("$(x)"), "{shown}");
        }
    }
}
