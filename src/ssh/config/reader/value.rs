//! The value of a directive, as `ssh -G` prints it before it fills in tokens.

use super::directive::Form;
use super::words::{shown, split};

/// As many files as ssh takes in one directive.
const MAX_PATHS: usize = 32;

/// Words that turn on what must be off here.
const ON: [&str; 4] = ["yes", "true", "always", "subsystem"];

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Its words; but for lists of files it is one.
    Words(Vec<String>),
    /// Taken by ssh, and what it comes to is not known here, for this reason. Where the line does not count it harms
    /// nobody.
    Odd(String),
}

impl Value {
    fn word(text: impl Into<String>) -> Value {
        Value::Words(vec![text.into()])
    }

    /// Reads what follows a keyword, as `form` has it.
    ///
    /// # Errors
    /// Why ssh would refuse it, or may.
    pub(super) fn read(form: Form, text: &str) -> Result<Value, String> {
        if text.starts_with('=') {
            return Err("more than one `=`".to_owned());
        }
        // A command is taken as it stands, but ssh looks for its quotes all the same.
        let words = split(text)?;
        match form {
            Form::Command => match text {
                "" => Err("an empty command".to_owned()),
                command => Ok(Value::word(command)),
            },
            Form::Jump => jump(text),
            Form::Paths => paths(words),
            Form::Any if words.first().is_some_and(|word| !word.is_empty()) => Ok(Value::Words(words)),
            Form::NoneOnly if !words.is_empty() => match words.as_slice() {
                [none] if none.eq_ignore_ascii_case("none") => Ok(Value::word("none")),
                [all] if all == "*" => Ok(Value::Odd("names that DNS leads to".to_owned())),
                _ => Err("names that DNS leads to".to_owned()),
            },
            _ => match <[String; 1]>::try_from(words) {
                Ok([word]) if !word.is_empty() => one(form, &word),
                Ok(_) => Err("an empty value".to_owned()),
                Err(words) if words.is_empty() => Err("no value".to_owned()),
                Err(_) => Err("more than one value".to_owned()),
            },
        }
    }
}

fn one(form: Form, word: &str) -> Result<Value, String> {
    let refused = |what: &str| Err(format!("`{}` is no {what}", shown(word)));
    match form {
        Form::Port => match number(word).filter(|port| (1..=65535).contains(port)) {
            Some(port) => Ok(Value::word(port.to_string())),
            None => refused("port number"),
        },
        Form::Number(least) => match number(word).filter(|number| *number >= least) {
            Some(number) => Ok(Value::word(number.to_string())),
            None => refused("number that may stand here"),
        },
        Form::Time if word == "none" || is_time(word) => Ok(Value::word(word)),
        Form::Persist if matches!(word, "yes" | "no" | "true" | "false") || is_time(word) => Ok(Value::word(word)),
        Form::Time | Form::Persist => refused("time"),
        Form::Choice(choices) | Form::Off(choices) => {
            match (choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)), form) {
                (Some((_, printed)), _) => Ok(Value::word(*printed)),
                (None, Form::Off(_)) if ON.iter().any(|on| on.eq_ignore_ascii_case(word)) => {
                    Ok(Value::Odd(format!("`{}`", shown(word))))
                }
                (None, _) => refused("value that may stand here"),
            }
        }
        Form::Names(known) => names(word, known),
        Form::Agent => match word.strip_prefix('$') {
            Some(name) if !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') => {
                Ok(Value::word(word))
            }
            Some(_) => Err(format!("the variable in `{}`", shown(word))),
            None if word.contains("${") => Err(format!("the variable in `{}`", shown(word))),
            None => Ok(Value::word(word)),
        },
        _ => Ok(Value::word(word)),
    }
}

fn number(word: &str) -> Option<u32> {
    let digits = !word.is_empty() && word.len() <= 9 && word.bytes().all(|c| c.is_ascii_digit());
    if digits { word.parse().ok() } else { None }
}

fn is_time(word: &str) -> bool {
    let units = word.split_inclusive(|c: char| !c.is_ascii_digit());
    let mut units =
        units.map(|part| part.strip_suffix(['s', 'S', 'm', 'M', 'h', 'H', 'd', 'D', 'w', 'W']).unwrap_or(part));
    word.len() <= 9 && units.all(|digits| number(digits).is_some_and(|number| number < 1000 || digits == word))
}

fn paths(words: Vec<String>) -> Result<Value, String> {
    if words.is_empty() || words.iter().any(String::is_empty) {
        return Err("an empty path".to_owned());
    }
    if words.len() > 1 && words.iter().any(|word| word.eq_ignore_ascii_case("none")) {
        return Err("`none` beside other paths".to_owned());
    }
    if words.len() > MAX_PATHS {
        return Err(format!("more than {MAX_PATHS} paths"));
    }
    Ok(Value::Words(words))
}

/// Algorithms by name. What adds to ssh's own list, or takes from it, depends on ssh's version.
fn names(word: &str, known: &[&str]) -> Result<Value, String> {
    let all_known = |names: &str| names.split(',').all(|name| known.contains(&name));
    if word.starts_with('-') || word.strip_prefix(['+', '^']).is_some_and(all_known) {
        return Ok(Value::Odd(format!("`{}` changes the list of algorithms of ssh's own", shown(word))));
    }
    let mut names: Vec<&str> = Vec::new();
    for name in word.split(',') {
        if !known.contains(&name) {
            return Err(format!("the algorithm `{}`, which not every ssh knows", shown(name)));
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(Value::word(names.join(",")))
}

/// `[user@]host[:port]`, several with commas between; ssh rewrites the last one.
fn jump(text: &str) -> Result<Value, String> {
    if text.eq_ignore_ascii_case("none") {
        return Ok(Value::word("none"));
    }
    let refused = || format!("the jump hosts `{}`", shown(text));
    let mut printed = Vec::new();
    let mut hops = text.split(',').peekable();
    while let Some(hop) = hops.next() {
        let written = canonical_hop(hop).ok_or_else(refused)?;
        printed.push(if hops.peek().is_some() { hop.to_owned() } else { written });
    }
    Ok(Value::word(printed.join(",")))
}

fn canonical_hop(hop: &str) -> Option<String> {
    let (user, rest) = hop.rsplit_once('@').map_or((None, hop), |(user, rest)| (Some(user), rest));
    let plain = |text: &str, more: &str| {
        let known = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
        !text.is_empty() && !text.starts_with('-') && text.chars().all(known)
    };
    if user.is_some_and(|user| !plain(user, "._-@+")) {
        return None;
    }
    let (host, port) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            let port = if port.is_empty() { None } else { Some(port.strip_prefix(':')?) };
            (plain(host, "._-:").then_some(host)?, port)
        }
        None => {
            let (host, port) = rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port)));
            (plain(host, "._-").then_some(host)?, port)
        }
    };
    if host.eq_ignore_ascii_case("none") {
        return None;
    }
    let port = match port {
        None => None,
        Some(port) => Some(number(port).filter(|port| (1..=65535).contains(port))?),
    };
    let numeric = host.contains(':') || host.bytes().all(|c| c.is_ascii_digit() || c == b'.');
    let user = user.map(|user| format!("{user}@")).unwrap_or_default();
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    Some(if numeric { format!("{user}[{host}]{port}") } else { format!("{user}{host}{port}") })
}

#[cfg(test)]
mod tests {
    use super::super::directive::{Kind, kind};
    use super::*;

    fn read(line: &str) -> Result<Value, String> {
        let (keyword, text) = line.split_once(' ').unwrap();
        match kind(keyword).unwrap() {
            Kind::Used(_, form) | Kind::Unused(form) => Value::read(form, text),
            _ => panic!("{keyword} has no value"),
        }
    }

    #[test]
    fn values_are_written_as_ssh_prints_them() {
        for (line, printed) in [
            ("port 0022", "22"),
            ("hashknownhosts TRUE", "yes"),
            ("pubkeyauthentication no", "false"),
            ("proxycommand ssh -W \"%h\" x # y", "ssh -W \"%h\" x # y"),
            ("proxyjump u@a:1,b@10.0.0.1:0022", "u@a:1,b@[10.0.0.1]:22"),
            ("ciphers aes128-ctr,aes128-ctr,3des-cbc", "aes128-ctr,3des-cbc"),
            ("connecttimeout 1h30m", "1h30m"),
        ] {
            assert_eq!(read(line), Ok(Value::word(printed)), "{line}");
        }
    }

    #[test]
    fn what_ssh_may_refuse_is_no_value() {
        for line in [
            "port 0",
            "port ssh",
            "port 1 2",
            "hashknownhosts maybe",
            "user \"\"",
            "user # x",
            "proxyjump a,,b",
            "proxyjump a # b",
            "proxyjump @a",
            "proxyjump fe80::1",
            "ciphers aes-of-tomorrow",
            "userknownhostsfile none a",
            "identityagent ${HOME}/x",
            "connecttimeout soon",
            "connectionattempts 0",
            "proxycommand x \"y",
            "proxycommand = x",
        ] {
            read(line).unwrap_err();
        }
        for line in ["ciphers +3des-cbc", "canonicalizehostname always", "canonicalizepermittedcnames *"] {
            assert!(matches!(read(line), Ok(Value::Odd(_))), "{line}");
        }
    }
}
