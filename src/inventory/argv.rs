//! Commands: a program and its arguments, never a string for a shell.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::de::told;

/// A program and its arguments. Never a shell string, never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(transparent)]
pub struct Argv(#[schemars(length(min = 1))] pub Vec<String>);

impl<'de> Deserialize<'de> for Argv {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Argv;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of a program and its arguments")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Argv, E> {
                let split = split(text).filter(|words| !words.is_empty() && text.len() < 200);
                let help = match split {
                    Some(words) => {
                        let quoted: Vec<String> = words.iter().map(|word| quote(word)).collect();
                        format!("no shell reads it: write `[{}]`", quoted.join(", "))
                    }
                    None => "no shell reads it: write `[PROGRAM, ARGUMENT, ...]`".to_owned(),
                };
                Err(E::custom(told("must be a list of a program and its arguments, not one string").help(help)))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Argv, A::Error> {
                let mut words: Vec<String> = Vec::new();
                while let Some(word) = seq.next_element()? {
                    words.push(word);
                }
                if words.first().is_none_or(|program| program.trim().is_empty()) {
                    let help = "write `[PROGRAM, ARGUMENT, ...]`, or leave the key out";
                    return Err(de::Error::custom(told("names no program").help(help)));
                }
                Ok(Argv(words))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// The words of a shell string, `{{ ... }}` kept whole.
fn split(text: &str) -> Option<Vec<String>> {
    const BLANK: char = '\u{1}';
    let mut inside = false;
    let mut glued = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, rest.peek()) {
            ('{', Some('{')) => inside = true,
            ('}', Some('}')) => inside = false,
            _ => {}
        }
        glued.push(if c == ' ' && inside { BLANK } else { c });
    }
    let words = shlex::split(&glued)?;
    Some(words.into_iter().map(|word| word.replace(BLANK, " ")).collect())
}

/// A word as it can stand in a flow list.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '~' | '+' | '=');
    let safe = word.chars().all(plain) && word.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '.'));
    if safe { word.to_owned() } else { format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_quoted_where_yaml_needs_it() {
        assert_eq!(quote("dev/dev-agent.sh"), "dev/dev-agent.sh");
        assert_eq!(quote("{{ issue.number }}"), "\"{{ issue.number }}\"");
        assert_eq!(quote("-c"), "\"-c\"");
    }
}
