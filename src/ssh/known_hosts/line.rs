//! One line of a known_hosts file.

use russh::keys::key::parse_public_key;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, PublicKey};

use super::names::Names;
use crate::ssh::base64;

/// The longest marker that OpenSSH reads, with its `@`.
const MAX_MARKER: usize = 31;

/// What a line says about its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marker {
    /// Nothing: it is a key of the host.
    None,
    /// `@cert-authority`: it signs the host's certificates.
    Authority,
    /// `@revoked`: it must never be accepted.
    Revoked,
}

/// A line that holds a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) marker: Marker,
    pub(super) names: Names,
    pub(super) key: PublicKey,
}

/// Why a line is passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bad {
    /// What is wrong, lower case.
    pub(super) message: String,
    /// Which text of the line: first byte and the byte after the last.
    pub(super) span: (usize, usize),
}

impl Line {
    /// Reads one line without its line feed. `None` is a blank line or a comment.
    ///
    /// It accepts what OpenSSH's `hostkeys_foreach` accepts, with one difference on the side of safety: `@revoked`
    /// with a tab behind it counts (OpenSSH passes such a line over and so accepts the key).
    pub(super) fn parse(line: &[u8]) -> Result<Option<Line>, Bad> {
        // C strings: nothing behind a NUL is seen.
        let line = line.split(|b| *b == 0).next().unwrap_or_default();
        let mut fields = Fields { line, at: 0 };
        fields.skip_blanks();
        if matches!(fields.rest().first(), None | Some(b'#')) {
            return Ok(None);
        }
        let mut marker = Marker::None;
        if fields.rest().first() == Some(&b'@') {
            let (word, span) = fields.word();
            // OpenSSH ends a marker at the first space of the line, and at a tab only where there is no space.
            let tabbed = line.get(span.1) == Some(&b'\t') && fields.rest().contains(&b' ');
            marker = match word {
                b"@revoked" => Marker::Revoked,
                b"@cert-authority" if tabbed => {
                    return Err(bad("a marker that a tab ends; ssh wants a space there", span));
                }
                b"@cert-authority" => Marker::Authority,
                _ if word.len() > MAX_MARKER => return Err(bad("a marker that is too long", span)),
                _ => return Err(bad(format!("unknown marker `{}`", show(word)), span)),
            };
            if fields.rest().first() == Some(&b'@') {
                let (_, span) = fields.word();
                return Err(bad("a second marker", span));
            }
        }
        let (word, span) = fields.word();
        let names = Names::parse(word).map_err(|message| bad(message, span))?;
        let (kind, kind_span) = fields.word();
        if kind.is_empty() || kind.starts_with(b"#") {
            return Err(bad("the line ends before the key type", kind_span));
        }
        let (blob, span) = fields.word();
        if blob.is_empty() {
            return Err(bad("the line ends before the key", span));
        }
        let key = key(kind, blob).map_err(|message| bad(message, if kind_known(kind) { span } else { kind_span }))?;
        Ok(Some(Line { marker, names, key }))
    }

    /// The line as it stands in a file, without its line feed; `None` if the key cannot be written.
    pub(super) fn to_text(&self) -> Option<String> {
        let marker = match self.marker {
            Marker::None => "",
            Marker::Authority => "@cert-authority ",
            Marker::Revoked => "@revoked ",
        };
        let key = PublicKey::new(self.key.key_data().clone(), "").to_openssh().ok()?;
        Some(format!("{marker}{} {key}", self.names.to_text()))
    }
}

/// The words of a line, blanks between them.
struct Fields<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    fn rest(&self) -> &'a [u8] {
        self.line.get(self.at..).unwrap_or_default()
    }

    fn skip_blanks(&mut self) {
        self.at += self.rest().iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    }

    /// The next word, empty at the end, with its first byte and the byte after its last; then skips blanks.
    fn word(&mut self) -> (&'a [u8], (usize, usize)) {
        let length = self.rest().iter().take_while(|b| !matches!(b, b' ' | b'\t')).count();
        let word = self.rest().get(..length).unwrap_or_default();
        let span = (self.at, self.at + length);
        self.at = span.1;
        self.skip_blanks();
        (word, span)
    }
}

fn bad(message: impl Into<String>, span: (usize, usize)) -> Bad {
    Bad { message: message.into(), span }
}

fn show(word: &[u8]) -> String {
    String::from_utf8_lossy(word).chars().take(40).flat_map(char::escape_debug).collect()
}

fn kind_known(kind: &[u8]) -> bool {
    std::str::from_utf8(kind).is_ok_and(|kind| algorithm(kind).is_some())
}

/// The algorithm that the second field names. A certificate is no host key, so no certificate type is here.
fn algorithm(kind: &str) -> Option<Algorithm> {
    match Algorithm::new(kind).ok()? {
        Algorithm::Other(_) => None,
        // `rsa-sha2-256` names a signature; OpenSSH reads it as the key type all the same.
        Algorithm::Rsa { .. } => Some(Algorithm::Rsa { hash: None }),
        algorithm => Some(algorithm),
    }
}

fn key(kind: &[u8], blob: &[u8]) -> Result<PublicKey, String> {
    let kind = std::str::from_utf8(kind).ok().filter(|kind| algorithm(kind).is_some());
    let Some(kind) = kind else {
        return Err("unknown key type".to_owned());
    };
    let bytes = base64::decode(blob).ok_or("the key is not Base64")?;
    let key = parse_public_key(&bytes).map_err(|_| "the key is damaged")?;
    if matches!(key.key_data(), KeyData::Certificate(_) | KeyData::Other(_)) || Some(key.algorithm()) != algorithm(kind)
    {
        return Err(format!("the key is not of type {kind}"));
    }
    // Whatever follows the key inside the Base64, or a number written in an unusual way, is damage too.
    if key.to_bytes().ok().as_deref() != Some(bytes.as_slice()) {
        return Err("the key is damaged".to_owned());
    }
    Ok(key)
}
