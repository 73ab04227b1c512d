//! ssh's arguments.

use std::path::Path;

use super::answer::Answer;
use super::directive::Form;
use super::file::Line;
use super::unsure::Unsure;
use super::value::Value;
use super::words::shown;

/// What messages call them.
const PLACE: &str = "the ssh arguments in the inventory";

/// Flags that change nothing that is used here.
const HARMLESS: &str = "2aACkKqtTvxXYn";

/// Takes in `words`, which go before any file. Gives the value of `-F`.
///
/// # Errors
/// An argument that is not known here, or that ssh would refuse.
pub(super) fn take(words: &[String], answer: &mut Answer<'_>) -> Result<Option<String>, Unsure> {
    let mut file = None;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let unsure = || Unsure::new(PLACE, format!("`{}`", shown(word)));
        let mut flags = word.strip_prefix('-').filter(|flags| !flags.is_empty()).ok_or_else(unsure)?.chars();
        while let Some(flag) = flags.next() {
            match flag {
                '4' => answer.force("addressfamily", "inet", PLACE),
                '6' => answer.force("addressfamily", "inet6", PLACE),
                flag if HARMLESS.contains(flag) => {}
                'o' | 'p' | 'l' | 'i' | 'J' | 'F' => {
                    let value = match flags.as_str() {
                        "" => words.next().ok_or_else(unsure)?.clone(),
                        rest => rest.to_owned(),
                    };
                    if flag == 'F' {
                        file = Some(value);
                    } else {
                        option(flag, &value, answer)?;
                    }
                    break;
                }
                _ => return Err(unsure()),
            }
        }
    }
    Ok(file)
}

fn option(flag: char, value: &str, answer: &mut Answer<'_>) -> Result<(), Unsure> {
    let place = || PLACE.to_owned();
    let unsure = |reason: String| Unsure::new(PLACE, reason);
    let shown = || unsure(format!("`-{flag} {}`", shown(value)));
    let mut plain = |directive, form| match Value::read(form, value) {
        Ok(value) => answer.set(directive, &value, true, &place),
        _ => Err(shown()),
    };
    // Only a word that no rule of quotes changes is the same here and in a file.
    let value_plain = !value.contains(['"', '\'', '\\', '#', ' ', '\t']);
    match flag {
        'p' if value_plain => plain("port", Form::Port),
        'l' if value_plain => plain("user", Form::Text),
        'o' => match Line::read(value).map_err(unsure)? {
            Line::Set(directive, value) => answer.set(directive, &value, true, &place),
            Line::Nothing => Ok(()),
            Line::Host(_) | Line::Match(_) | Line::Include(_) => Err(shown()),
        },
        'J' => {
            if answer.word("proxyjump").is_some() || answer.word("proxycommand").is_some() {
                return Err(shown());
            }
            let value = Value::read(Form::Jump, value).map_err(unsure)?;
            answer.set("proxyjump", &value, true, &place)?;
            answer.force("proxycommand", "none", PLACE);
            Ok(())
        }
        // A file that is not there is passed over.
        'i' => {
            let path = match value.strip_prefix('~') {
                None => value.to_owned(),
                Some(rest) if rest.starts_with('/') && !rest.starts_with("//") => {
                    let home = answer.passwd.and_then(|passwd| passwd.home.to_str()).ok_or_else(shown)?;
                    format!("{}{rest}", home.trim_end_matches('/'))
                }
                Some(_) => return Err(shown()),
            };
            match Path::new(&path).exists() {
                true => answer.set("identityfile", &Value::Words(vec![path]), true, &place),
                false => Ok(()),
            }
        }
        _ => Err(shown()),
    }
}
