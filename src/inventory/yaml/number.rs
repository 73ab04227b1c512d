//! Numbers as Python reads and prints them: integers of any length in several bases, floats in their shortest form.

/// How many digits an integer may have: Python's own limit for turning text into a number.
const MAX_DIGITS: usize = 4300;

/// Why a number that looks like one is none.
const TOO_LONG: &str = "a number of more than 4300 digits";

/// An integer by YAML 1.1's rules (`0644` is octal, `0x1F`, `0b101`, `1:30` is base 60, `_` is skipped) in decimal;
/// `None` when `text` has not the form of one, an error when it has and still is none (`0b_`).
pub(super) fn integer(text: &str) -> Option<Result<String, String>> {
    let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    let all = |part: &str, ok: fn(char) -> bool| !part.is_empty() && part.chars().all(|c| c == '_' || ok(c));
    let sexagesimal = || {
        let mut parts = rest.split(':');
        let head = parts.next().unwrap_or_default();
        let minutes = |part: &str| match part.as_bytes() {
            [last] => last.is_ascii_digit(),
            [first, last] => (b'0'..=b'5').contains(first) && last.is_ascii_digit(),
            _ => false,
        };
        head.starts_with(|c: char| ('1'..='9').contains(&c)) && all(head, |c| c.is_ascii_digit()) && parts.all(minutes)
    };
    let form = if let Some(bits) = rest.strip_prefix("0b") {
        all(bits, |c| matches!(c, '0' | '1'))
    } else if let Some(hex) = rest.strip_prefix("0x") {
        all(hex, |c| c.is_ascii_hexdigit())
    } else if let Some(octal) = rest.strip_prefix('0') {
        octal.is_empty() || all(octal, |c| c.is_digit(8))
    } else {
        sexagesimal()
    };
    form.then(|| integer_value(text))
}

/// The value of an explicit `!!int`, in decimal, read as PyYAML's constructor reads it.
pub(super) fn integer_value(text: &str) -> Result<String, String> {
    let bad = || format!("`{text}` is not an integer");
    let text = text.replace('_', "");
    let negative = text.starts_with('-');
    let rest = text.strip_prefix(['-', '+']).unwrap_or(&text);
    if rest.len() > MAX_DIGITS {
        return Err(TOO_LONG.to_owned());
    }
    let mut value = Big::default();
    if let Some(bits) = rest.strip_prefix("0b") {
        value.digits(bits, 2)
    } else if let Some(hex) = rest.strip_prefix("0x") {
        value.digits(hex, 16)
    } else if rest == "0" {
        Some(())
    } else if let Some(octal) = rest.strip_prefix('0') {
        value.digits(octal.strip_prefix(['o', 'O']).unwrap_or(octal), 8)
    } else {
        rest.split(':').try_for_each(|part| {
            value.multiply_add(60, 0);
            let mut digit = Big::default();
            digit.digits(part, 10)?;
            value.add(&digit);
            Some(())
        })
    }
    .ok_or_else(bad)?;
    let decimal = value.decimal();
    if decimal.len() > MAX_DIGITS {
        return Err(TOO_LONG.to_owned());
    }
    Ok(if negative && decimal != "0" { format!("-{decimal}") } else { decimal })
}

/// A float by YAML 1.1's rules: a point is needed, an exponent needs its sign (`1.5e+3`; `1e3` is text).
pub(super) fn float(text: &str) -> Option<f64> {
    let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(rest, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return float_value(text).ok();
    }
    let (whole, fraction) = rest.split_once('.')?;
    let digits = |part: &str| part.chars().all(|c| c == '_' || c.is_ascii_digit());
    let starts = |part: &str| part.starts_with(|c: char| c.is_ascii_digit());
    if let Some((head, minutes)) = whole.split_once(':') {
        let part = |part: &str| match part.as_bytes() {
            [last] => last.is_ascii_digit(),
            [first, last] => (b'0'..=b'5').contains(first) && last.is_ascii_digit(),
            _ => false,
        };
        let form = starts(head) && digits(head) && minutes.split(':').all(part) && digits(fraction);
        return if form { float_value(text).ok() } else { None };
    }
    let (fraction, exponent) = match fraction.split_once(['e', 'E']) {
        Some((fraction, exponent)) => (fraction, Some(exponent)),
        None => (fraction, None),
    };
    let exponent_fits = exponent.is_none_or(|exponent| {
        exponent
            .strip_prefix(['-', '+'])
            .is_some_and(|power| !power.is_empty() && power.chars().all(|c| c.is_ascii_digit()))
    });
    let form = if whole.is_empty() {
        // `.5` may not have a sign.
        rest.len() == text.len() && starts(fraction) && digits(fraction)
    } else {
        starts(whole) && digits(whole) && digits(fraction)
    };
    if form && exponent_fits { float_value(text).ok() } else { None }
}

/// The value of an explicit `!!float`, read as PyYAML's constructor reads it.
pub(super) fn float_value(text: &str) -> Result<f64, String> {
    let bad = || format!("`{text}` is not a number");
    let plain = text.replace('_', "").to_lowercase();
    let sign = if plain.starts_with('-') { -1.0 } else { 1.0 };
    let rest = plain.strip_prefix(['-', '+']).unwrap_or(&plain);
    let value = match rest {
        ".inf" => f64::INFINITY,
        ".nan" => return Ok(f64::NAN),
        _ if rest.contains(':') => {
            let mut base = 1.0;
            let mut value = 0.0;
            for part in rest.rsplit(':') {
                value += part.trim().parse::<f64>().map_err(|_| bad())? * base;
                base *= 60.0;
            }
            value
        }
        _ => rest.trim().parse::<f64>().map_err(|_| bad())?,
    };
    Ok(sign * value)
}

/// `value` as Python prints it: the shortest digits that read back, an exponent from 1e16 up and below 1e-4.
pub(super) fn repr(value: f64) -> String {
    let scientific = format!("{value:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return value.to_string() };
    match exponent.parse::<i32>() {
        Ok(power) if !(-4..16).contains(&power) => {
            let sign = if power < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", power.abs())
        }
        _ => {
            let text = value.to_string();
            if text.contains('.') { text } else { format!("{text}.0") }
        }
    }
}

/// A whole number of any length, in base 10^9, the lowest part first.
#[derive(Default)]
struct Big(Vec<u64>);

const BIG_BASE: u64 = 1_000_000_000;

impl Big {
    fn multiply_add(&mut self, factor: u64, add: u64) {
        let mut carry = add;
        for part in &mut self.0 {
            let sum = *part * factor + carry;
            *part = sum % BIG_BASE;
            carry = sum / BIG_BASE;
        }
        if carry > 0 {
            self.0.push(carry);
        }
    }

    fn add(&mut self, other: &Big) {
        let mut carry = 0;
        for index in 0..other.0.len().max(self.0.len()) {
            let theirs = other.0.get(index).copied().unwrap_or(0);
            match self.0.get_mut(index) {
                Some(part) => {
                    let sum = *part + theirs + carry;
                    *part = sum % BIG_BASE;
                    carry = sum / BIG_BASE;
                }
                None => {
                    self.0.push((theirs + carry) % BIG_BASE);
                    carry = (theirs + carry) / BIG_BASE;
                }
            }
        }
        if carry > 0 {
            self.0.push(carry);
        }
    }

    /// Reads `text` in `base`; `None` when it is empty or has another character.
    fn digits(&mut self, text: &str, base: u32) -> Option<()> {
        for c in text.chars() {
            self.multiply_add(u64::from(base), u64::from(c.to_digit(base)?));
        }
        (!text.is_empty()).then_some(())
    }

    fn decimal(&self) -> String {
        let mut parts = self.0.iter().rev().skip_while(|part| **part == 0);
        let Some(first) = parts.next() else { return "0".to_owned() };
        parts.fold(first.to_string(), |text, part| text + &format!("{part:09}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_the_bases_of_yaml_1_1() {
        for (text, want) in [
            ("0", "0"),
            ("-0", "0"),
            ("+12", "12"),
            ("0644", "420"),
            ("0_", "0"),
            ("0x1F", "31"),
            ("-0b101", "-5"),
            ("1_000", "1000"),
            ("1:30", "90"),
            ("190:20:30", "685230"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("0x1234567890123456789012345678901234567890", "103929005307130220006098923584552504982110632080"),
        ] {
            assert_eq!(integer(text), Some(Ok(want.to_owned())), "{text}");
        }
        for text in ["", "-", "089", "0o14", "1e3", "1:60", "1:", "0:30", "1.5", "_1", "0x", "a", "--1"] {
            assert_eq!(integer(text), None, "{text}");
        }
        assert!(matches!(integer("0b_"), Some(Err(_))));
        assert!(matches!(integer(&"9".repeat(5000)), Some(Err(_))));
    }

    #[test]
    fn floats_need_a_point_and_a_signed_exponent() {
        for (text, want) in [
            ("1.5", "1.5"),
            ("1.", "1.0"),
            (".5", "0.5"),
            ("-1_0.5", "-10.5"),
            ("1.5e+20", "1.5e+20"),
            ("1.0e-7", "1e-07"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("1.0e+16", "1e+16"),
            ("1234567890123456.0", "1234567890123456.0"),
            ("1:30.5", "90.5"),
            ("-0.0", "-0.0"),
        ] {
            assert_eq!(float(text).map(repr).as_deref(), Some(want), "{text}");
        }
        for text in ["1e3", "1.5e3", "-.5", "1:60.0", "1", "", ".", "1.2.3", ".inf2", "+.nan"] {
            assert_eq!(float(text), None, "{text}");
        }
        assert_eq!(float("-.INF"), Some(f64::NEG_INFINITY));
        assert!(float(".nan").is_some_and(f64::is_nan));
    }
}
