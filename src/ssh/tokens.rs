//! `%` tokens and `${VARIABLES}` in the values of ssh_config.

use std::path::Path;

/// What `%` tokens in paths stand for.
pub(crate) struct Tokens<'a> {
    /// `%d`: the home directory.
    pub(crate) home: Option<&'a Path>,
    /// `%h`: the name or address that is connected to.
    pub(crate) host: &'a str,
    /// `%n`: the name that ssh was asked about.
    pub(crate) asked: &'a str,
    /// `%p`: the port.
    pub(crate) port: u16,
    /// `%r`: the user over there.
    pub(crate) user: &'a str,
}

impl Tokens<'_> {
    /// `text` with its tokens and `${VARIABLES}` replaced; `None` for one that is not known here.
    pub(crate) fn expand(&self, text: &str) -> Option<String> {
        let token = |token| {
            Some(match token {
                'd' => self.home?.display().to_string(),
                'h' => self.host.to_owned(),
                'n' => self.asked.to_owned(),
                'p' => self.port.to_string(),
                'r' => self.user.to_owned(),
                'u' => std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).ok()?,
                'i' => rustix::process::getuid().as_raw().to_string(),
                _ => return None,
            })
        };
        expand(text, token, |name| std::env::var(name).ok())
    }
}

/// `text` with what `token` gives for each `%` token and `variable` for each `${NAME}`; `None` for one that has nothing,
/// and for one that is cut off.
pub(crate) fn expand(
    text: &str,
    token: impl Fn(char) -> Option<String>,
    variable: impl Fn(&str) -> Option<String>,
) -> Option<String> {
    let mut expanded = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '%' => match rest.next()? {
                '%' => expanded.push('%'),
                name => expanded.push_str(&token(name)?),
            },
            '$' if rest.as_str().starts_with('{') => {
                let (name, after) = rest.as_str().get(1..)?.split_once('}')?;
                expanded.push_str(&variable(name)?);
                rest = after.chars();
            }
            c => expanded.push(c),
        }
    }
    Some(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_token_is_what_it_stands_for_and_none_is_left() {
        let of =
            |text: &str| expand(text, |c| (c == 'h').then(|| "web".into()), |name| (name == "A").then(|| "b".into()));
        assert_eq!(of("~/%h-%%h_${A}$A$"), Some("~/web-%h_b$A$".into()));
        for bad in ["%", "%C", "a${B}", "${A"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
