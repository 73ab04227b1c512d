//! A line of ssh_config as a keyword and words.

/// What ssh takes for blanks between words of a line.
const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

/// The keyword of `line` in lower case, and what follows it; `None` for an empty line or a comment.
///
/// # Errors
/// What is odd about the line, in words: ssh would refuse it, or its versions differ about it.
pub(super) fn keyword(line: &str) -> Result<Option<(String, &str)>, String> {
    let line = line.trim_end_matches([' ', '\t', '\r', '\n', '\x0c']).trim_start_matches(BLANKS);
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    if line.chars().any(|c| c.is_control() && c != '\t') {
        return Err("a control character".to_owned());
    }
    let end = line.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    let blank = rest.trim_start_matches(BLANKS);
    if word.is_empty() || (!rest.is_empty() && blank.len() == rest.len() && !rest.starts_with('=')) {
        return Err(format!("no keyword in `{}`", shown(line)));
    }
    // One `=` may stand between, with blanks round it.
    let value = blank.strip_prefix('=').unwrap_or(blank).trim_start_matches(BLANKS);
    if value.is_empty() {
        return Err(format!("no value for `{word}`"));
    }
    Ok(Some((word.to_ascii_lowercase(), value)))
}

/// The words of `text` up to a comment, without quotes; a `\` escapes quotes, itself and, outside quotes, a blank.
///
/// # Errors
/// A quote that does not end.
pub(super) fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = text.chars().peekable();
    loop {
        while rest.next_if(|c| matches!(c, ' ' | '\t')).is_some() {}
        if matches!(rest.peek(), None | Some('#')) {
            return Ok(words);
        }
        let mut word = String::new();
        let mut quote = None;
        while let Some(c) = rest.next() {
            match c {
                '\\' => {
                    match rest.next_if(|next| matches!(next, '\'' | '"' | '\\') || (quote.is_none() && *next == ' ')) {
                        Some(escaped) => word.push(escaped),
                        None => word.push('\\'),
                    }
                }
                ' ' | '\t' if quote.is_none() => break,
                '"' | '\'' if quote.is_none() => quote = Some(c),
                _ if quote == Some(c) => quote = None,
                _ => word.push(c),
            }
        }
        if quote.is_some() {
            return Err(format!("a quote that does not end in `{}`", shown(text)));
        }
        words.push(word);
    }
}

/// At most 40 characters of `text`, for a message.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyword_may_be_followed_by_one_equals_sign() {
        for line in ["Port 22", "  port=22 \r\n", "PORT = 22", "Port =22", "\tPort\t=\t22"] {
            assert_eq!(keyword(line), Ok(Some(("port".to_owned(), "22"))), "{line:?}");
        }
        assert_eq!(keyword("User==x"), Ok(Some(("user".to_owned(), "=x"))));
        for line in ["", " \n", "# x", "  #x y"] {
            assert_eq!(keyword(line), Ok(None), "{line:?}");
        }
        for line in ["Port", "Port=", "\"Port\" 22", "User\"x\"", "= 22", "User a\x01b", "User-x y"] {
            keyword(line).unwrap_err();
        }
    }

    #[test]
    fn words_lose_their_quotes() {
        let words = |text| split(text).unwrap();
        assert_eq!(words("a  'b c'\t\"d e\"f # g"), ["a", "b c", "d ef"]);
        assert_eq!(words(r#"a\ b "c\"d\ e" x\y a#b "" "#), ["a b", "c\"d\\ e", "x\\y", "a#b", ""]);
        split("\"a").unwrap_err();
    }
}
