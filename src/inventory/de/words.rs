//! Small checks that several types share, for `#[serde(deserialize_with)]`.

use serde::{Deserialize, Deserializer, de};

use super::told;

/// Text that is not empty.
pub(crate) fn filled<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.trim().is_empty() {
        return Err(de::Error::custom(told("must not be empty").help("write a value, or leave the key out")));
    }
    Ok(text)
}

/// A whole number of at least 1.
pub(crate) fn at_least_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    match u32::deserialize(deserializer)? {
        0 => Err(de::Error::custom(told("must be 1 or more, and this is `0`"))),
        number => Ok(number),
    }
}
