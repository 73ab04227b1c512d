//! What the weeks of one law come to.

use super::table::Table;
use super::week::Outcome;

/// The weeks of one law, one a seed.
pub struct Weeks {
    /// What they are called.
    pub name: String,
    /// How they went.
    pub outcomes: Vec<Outcome>,
    /// How long each was.
    pub days: f64,
}

/// A mean, and the least and the most of all seeds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    mean: f64,
    least: f64,
    most: f64,
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = |value: f64| if value >= 20.0 { format!("{value:.0}") } else { format!("{value:.1}") };
        let Spread { mean, least, most } = *self;
        if f.alternate() && least < most {
            write!(f, "{} ({}..{})", digits(mean), digits(least), digits(most))
        } else {
            f.write_str(&digits(mean))
        }
    }
}

/// One column.
type Column = (&'static str, fn(&Outcome) -> f64, Over);

/// What a number is divided by.
#[derive(Clone, Copy)]
enum Over {
    Day,
    Week,
}

const COLUMNS: [Column; 10] = [
    ("OOM kills", |out| out.kills as f64, Over::Week),
    ("stops", |out| out.stops as f64, Over::Week),
    ("healthy lost", |out| out.healthy as f64, Over::Week),
    ("flips a day", |out| out.flips as f64, Over::Day),
    ("dev tasks", |out| out.dev as f64, Over::Week),
    ("reviews", |out| out.review as f64, Over::Week),
    ("work, h", |out| out.work, Over::Week),
    ("lost, h", |out| out.lost_to_kills + out.lost_to_stops + out.lost_to_limits, Over::Week),
    ("held, h", |out| out.held, Over::Week),
    ("no room, h", |out| out.no_room, Over::Week),
];

impl Weeks {
    fn spread(&self, value: fn(&Outcome) -> f64, over: Over) -> Spread {
        let per = self.days / if matches!(over, Over::Day) { 1.0 } else { 7.0 };
        let values: Vec<f64> = self.outcomes.iter().map(|out| value(out) / per).collect();
        Spread {
            mean: values.iter().sum::<f64>() / values.len().max(1) as f64,
            least: values.iter().copied().fold(f64::INFINITY, f64::min),
            most: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }
    }
}

/// A row for each law; with `spread` the least and the most of all seeds behind each mean.
pub fn table(title: &str, all: &[Weeks], spread: bool) -> Table {
    let head: Vec<&str> = [title].into_iter().chain(COLUMNS.map(|(name, ..)| name)).collect();
    let mut table = Table::new(&head);
    for weeks in all {
        let cell = |(_, value, over): Column| {
            let cell = weeks.spread(value, over);
            if spread { format!("{cell:#}") } else { cell.to_string() }
        };
        table.row([weeks.name.clone()].into_iter().chain(COLUMNS.map(cell)).collect());
    }
    table
}
