//! Base64 as OpenSSH's text files hold it: standard alphabet, padded, canonical.

use russh::keys::ssh_encoding::{Base64Reader, Base64Writer, Reader, Writer};

/// The bytes that `text` stands for, or `None` if it is not canonical Base64.
///
/// ASCII white space inside is passed over, as OpenSSH does (a file with CRLF line ends has a CR after its keys).
pub(crate) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let text: Vec<u8> = text.iter().copied().filter(|b| !b.is_ascii_whitespace() && *b != 0x0b).collect();
    if text.is_empty() {
        return Some(Vec::new());
    }
    let mut reader = Base64Reader::new(&text).ok()?;
    let mut bytes = vec![0; reader.remaining_len()];
    reader.read(&mut bytes).ok()?;
    Some(bytes)
}

/// `bytes` as Base64. Empty if there is no room, which cannot be.
pub(crate) fn encode(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return String::new();
    }
    let mut room = vec![0; bytes.len().div_ceil(3).saturating_mul(4)];
    let Ok(mut writer) = Base64Writer::new(&mut room) else { return String::new() };
    if writer.write(bytes).is_err() {
        return String::new();
    }
    writer.finish().map(str::to_owned).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_canonical_text_is_taken() {
        assert_eq!(decode(b"aGk=").unwrap(), b"hi");
        assert_eq!(decode(b"aG k=\r").unwrap(), b"hi");
        for bad in ["aGk", "aGl=", "aGk=x", "aGk==", "!!!!", "="] {
            assert_eq!(decode(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(decode(encode(&bytes).as_bytes()).unwrap(), bytes);
        }

        #[test]
        fn arbitrary_text_never_panics(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&text);
        }
    }
}
