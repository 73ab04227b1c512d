//! Amounts with units, as people write them in YAML: `2.5GiB`, `90s`, `4h`, `15%`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number of bytes. Written with a unit: `512MiB`, `2.5GiB`, `10GB`; a bare number is bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

/// A length of time. Written with units: `90s`, `15m`, `4h`, `1h30m`, `2d`; a bare number is seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

/// A part of a whole in percent, 0 to 100. Written `15%` or `15`.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Percent(pub f64);

const KIB: f64 = 1024.0;
const BYTE_UNITS: [(&str, f64); 11] = [
    ("", 1.0),
    ("B", 1.0),
    ("kB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("TB", 1e12),
    ("KiB", KIB),
    ("MiB", KIB * KIB),
    ("GiB", KIB * KIB * KIB),
    ("TiB", KIB * KIB * KIB * KIB),
    ("KB", 1e3),
];

/// Splits `2.5GiB` into its number and its unit.
fn split_number(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let plain = number.starts_with(|c: char| c.is_ascii_digit()) && !number.ends_with('.');
    let number: f64 = if plain { number.parse().ok()? } else { return None };
    number.is_finite().then_some((number, unit.trim_start()))
}

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || format!("`{text}` is not an amount of memory or disk: write it like `2.5GiB`, `512MiB` or `10GB`");
        let (number, unit) = split_number(text.trim()).ok_or_else(bad)?;
        let (_, factor) = BYTE_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
        let bytes = number * factor;
        // 2^63: far above any machine, and exact enough in a float's 53 bits for what people write.
        if bytes < 9.2e18 { Ok(Bytes(bytes.round() as u64)) } else { Err(bad()) }
    }
}

impl fmt::Display for Bytes {
    /// In the largest binary unit that keeps it at 1 or more, with one decimal where it is not whole: `2.5GiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut amount = self.0 as f64;
        let mut unit = "B";
        for next in ["KiB", "MiB", "GiB", "TiB"] {
            if amount < KIB {
                break;
            }
            amount /= KIB;
            unit = next;
        }
        let rounded = (amount * 10.0).round() / 10.0;
        if rounded.fract() == 0.0 { write!(f, "{rounded:.0}{unit}") } else { write!(f, "{rounded:.1}{unit}") }
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || format!("`{text}` is not a length of time: write it like `90s`, `15m`, `4h`, `1h30m` or `2d`");
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(bad());
        }
        let mut seconds = 0.0;
        let mut last = f64::INFINITY;
        while !rest.is_empty() {
            let (number, tail) = split_number(rest).ok_or_else(bad)?;
            let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let (unit, next) = tail.split_at_checked(end).ok_or_else(bad)?;
            let factor = match unit.trim_end() {
                "" if last == f64::INFINITY && next.is_empty() => 1.0,
                "ms" => 0.001,
                "s" => 1.0,
                "m" | "min" => 60.0,
                "h" => 3600.0,
                "d" => 86400.0,
                _ => return Err(bad()),
            };
            if factor >= last {
                return Err(bad());
            }
            last = factor;
            seconds += number * factor;
            rest = next;
        }
        // 100 years: whatever is longer is a mistake, and a float holds it to the millisecond.
        if seconds <= 3.2e9 { Ok(Span(Duration::from_secs_f64(seconds))) } else { Err(bad()) }
    }
}

impl fmt::Display for Span {
    /// As people write it: `1h30m`, `90s` as `1m30s`, `0.5s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_secs();
        let millis = self.0.subsec_millis();
        if rest == 0 {
            return if millis == 0 { f.write_str("0s") } else { write!(f, "{millis}ms") };
        }
        for (unit, size) in [("d", 86400), ("h", 3600), ("m", 60), ("s", 1)] {
            if rest >= size {
                write!(f, "{}{unit}", rest / size)?;
                rest %= size;
            }
        }
        Ok(())
    }
}

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || format!("`{text}` is not a percentage: write it like `15%`");
        match split_number(text.trim()) {
            Some((number, "" | "%")) if number <= 100.0 => Ok(Percent(number)),
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

/// Serde and JSON Schema for a unit type: read from text or from a bare number, written as text.
macro_rules! unit_type {
    ($name:ident, $title:literal, $pattern:literal) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl de::Visitor<'_> for Visitor {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($title)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                    fn visit_u64<E: de::Error>(self, number: u64) -> Result<$name, E> {
                        number.to_string().parse().map_err(E::custom)
                    }
                    fn visit_i64<E: de::Error>(self, number: i64) -> Result<$name, E> {
                        number.to_string().parse().map_err(E::custom)
                    }
                    fn visit_f64<E: de::Error>(self, number: f64) -> Result<$name, E> {
                        number.to_string().parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_any(Visitor)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"description": $title, "anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": $pattern}]})
            }
        }
    };
}

unit_type!(Bytes, "an amount of memory or disk such as `2.5GiB`", r"^[0-9]+(\.[0-9]+)? ?([kKMGT]i?)?B?$");
unit_type!(Span, "a length of time such as `90s`, `15m` or `1h30m`", r"^([0-9]+(\.[0-9]+)?(ms|s|m|min|h|d)? ?)+$");
unit_type!(Percent, "a percentage such as `15%`", r"^[0-9]+(\.[0-9]+)?%?$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_people_write_them() {
        for (text, want) in
            [("2.5GiB", 2_684_354_560), ("512MiB", 536_870_912), ("10GB", 10_000_000_000), ("7", 7), ("1 GiB", 1 << 30)]
        {
            assert_eq!(text.parse::<Bytes>(), Ok(Bytes(want)), "{text}");
        }
        for text in ["", "GiB", "1.GiB", "-1GiB", "2.5gib", "1G", "nan", "inf", "1e9", "99999999999TiB", "1GiB2"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, want) in [
            ("90s", 90.0),
            ("15m", 900.0),
            ("1h30m", 5400.0),
            ("2d", 172_800.0),
            ("45", 45.0),
            ("250ms", 0.25),
            ("0.5s", 0.5),
        ] {
            assert_eq!(text.parse::<Span>(), Ok(Span(Duration::from_secs_f64(want))), "{text}");
        }
        for text in ["", "h", "30m1h", "1h1h", "5 parsecs", "-5s", "1h30", "99999999d"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_printed_is_read_back() {
        for text in ["2.5GiB", "512MiB", "0B", "1TiB"] {
            assert_eq!(text.parse::<Bytes>().unwrap().to_string(), text);
        }
        for text in ["1h30m", "1m30s", "0s", "250ms", "2d"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        assert_eq!("15".parse::<Percent>().unwrap().to_string(), "15%");
        assert!("101%".parse::<Percent>().is_err());
    }
}
