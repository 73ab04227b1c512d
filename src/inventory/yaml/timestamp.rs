//! Dates and times of YAML 1.1, as Ansible prints them.

/// A reader of fixed forms.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    /// The number in the next `min` to `max` digits.
    fn digits(&mut self, min: usize, max: usize) -> Option<u32> {
        let count = self.0.iter().take(max).take_while(|byte| byte.is_ascii_digit()).count();
        if count < min {
            return None;
        }
        let (digits, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(digits.iter().fold(0, |sum, byte| sum * 10 + u32::from(byte - b'0')))
    }

    fn one_of(&mut self, bytes: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        bytes.contains(first).then(|| {
            self.0 = rest;
            *first
        })
    }

    fn blanks(&mut self) -> usize {
        let mut count = 0;
        while self.one_of(b" \t").is_some() {
            count += 1;
        }
        count
    }

    fn done(&self) -> bool {
        self.0.is_empty()
    }
}

/// The parts of a date with or without a time.
struct Parts {
    date: (u32, u32, u32),
    time: Option<Time>,
}

struct Time {
    hour: u32,
    minute: u32,
    second: u32,
    micros: u32,
    /// Minutes east of UTC.
    zone: Option<i32>,
}

/// `text` in ISO form when it has the form of a YAML 1.1 timestamp; an error when it names no day or time that
/// exists (`2026-02-30`).
pub(super) fn timestamp(text: &str) -> Option<Result<String, String>> {
    let parts = parts(text)?;
    Some(format(&parts).ok_or_else(|| format!("`{text}` is not a date that exists")))
}

fn parts(text: &str) -> Option<Parts> {
    let mut at = Cursor(text.as_bytes());
    let year = at.digits(4, 4)?;
    at.one_of(b"-")?;
    let before = at.0.len();
    let month = at.digits(1, 2)?;
    at.one_of(b"-")?;
    let day = at.digits(1, 2)?;
    let date = (year, month, day);
    if at.done() {
        // A date alone needs both digits of month and day.
        return (before == 5).then_some(Parts { date, time: None });
    }
    if at.one_of(b"Tt").is_none() && at.blanks() == 0 {
        return None;
    }
    let hour = at.digits(1, 2)?;
    at.one_of(b":")?;
    let minute = at.digits(2, 2)?;
    at.one_of(b":")?;
    let second = at.digits(2, 2)?;
    let mut micros = 0;
    if at.one_of(b".").is_some() {
        let mut scale = 100_000;
        while let Some(digit) = at.digits(1, 1) {
            micros += digit * scale;
            scale /= 10;
        }
    }
    let mut zone = None;
    if !at.done() {
        at.blanks();
        let sign = at.one_of(b"Z+-")?;
        zone = Some(0);
        if sign != b'Z' {
            let hours = at.digits(1, 2)?;
            let minutes = if at.one_of(b":").is_some() { at.digits(2, 2)? } else { 0 };
            let east = i32::try_from(hours * 60 + minutes).ok()?;
            zone = Some(if sign == b'-' { -east } else { east });
        }
    }
    at.done().then_some(Parts { date, time: Some(Time { hour, minute, second, micros, zone }) })
}

fn format(parts: &Parts) -> Option<String> {
    let (year, month, day) = parts.date;
    // jiff knows the calendar; Python's years begin at 1.
    jiff::civil::Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()?;
    if year == 0 {
        return None;
    }
    let mut text = format!("{year:04}-{month:02}-{day:02}");
    let Some(time) = &parts.time else { return Some(text) };
    if time.hour > 23 || time.minute > 59 || time.second > 59 {
        return None;
    }
    text += &format!("T{:02}:{:02}:{:02}", time.hour, time.minute, time.second);
    if time.micros > 0 {
        text += &format!(".{:06}", time.micros);
    }
    if let Some(zone) = time.zone {
        let (sign, east) = if zone < 0 { ('-', -zone) } else { ('+', zone) };
        if east >= 24 * 60 {
            return None;
        }
        text += &format!("{sign}{:02}:{:02}", east / 60, east % 60);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times_get_their_iso_form() {
        for (text, want) in [
            ("2026-03-12", "2026-03-12"),
            ("2026-3-1 1:02:03", "2026-03-01T01:02:03"),
            ("2026-03-12T10:20:30Z", "2026-03-12T10:20:30+00:00"),
            ("2026-03-12t10:20:30.5 +5:30", "2026-03-12T10:20:30.500000+05:30"),
            ("2026-03-12 10:20:30.123456789 -08", "2026-03-12T10:20:30.123456-08:00"),
            ("2024-02-29", "2024-02-29"),
        ] {
            assert_eq!(timestamp(text), Some(Ok(want.to_owned())), "{text}");
        }
        for text in ["2026-3-12", "2026-03-12T10:20", "2026-03-1", "2026-03-12T10:20:30 UTC", "26-03-12", "2026"] {
            assert_eq!(timestamp(text), None, "{text}");
        }
        for text in ["2026-02-29", "2026-13-01", "0000-01-01", "2026-01-01 24:00:00", "2026-01-01 1:00:00+24:00"] {
            assert!(matches!(timestamp(text), Some(Err(_))), "{text}");
        }
    }
}
