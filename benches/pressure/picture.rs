//! A day as SVG: memory, what might start, and what was lost, one law below the other.

use factory::policy::ladder::Mode;

use super::agents::{GIB, HOUR};
use super::host::Machine;
use super::laws::Kind;
use super::week::{Mark, Outcome, Point};
use super::work::DAY;

const WIDTH: f64 = 960.0;
/// Where the plots begin and end.
const LEFT: f64 = 84.0;
const RIGHT: f64 = 890.0;
/// From the top of one law to that of the next.
const PANEL: f64 = 350.0;
/// The plot of memory within it.
const TOP: f64 = 30.0;
const HEIGHT: f64 = 200.0;
/// A band of modes.
const BAND: f64 = 13.0;
/// The strip with the number of agents.
const STRIP: f64 = 36.0;
/// Room for the title and the legend.
const HEAD: f64 = 70.0;

const INK: &str = "#1f2328";
const FAINT: &str = "#8c959f";

fn colour(mode: Mode) -> &'static str {
    match mode {
        Mode::Run => "#a8d8b0",
        Mode::Hold => "#f2c94c",
        Mode::Stop => "#d9534f",
    }
}

/// One day, the `day`th from 1, of weeks that have it.
pub fn draw(days: &[(Kind, Outcome)], machine: Machine, day: u32) -> String {
    let height = HEAD + PANEL * days.len() as f64;
    let mut svg = Svg(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         font-family=\"sans-serif\" font-size=\"12\" fill=\"{INK}\">\n\
         <title>One simulated day: available memory, modes, kills and stops</title>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    ));
    svg.text(
        LEFT,
        24.0,
        "start",
        INK,
        &format!("Memory available on a host of {:.0} GiB, one day", machine.total / GIB),
    );
    svg.legend();
    for (at, (kind, outcome)) in days.iter().enumerate() {
        let panel = Panel { top: HEAD + PANEL * at as f64, from: f64::from(day.saturating_sub(1)) * DAY, machine };
        panel.draw(&mut svg, *kind, outcome);
    }
    svg.0.push_str("</svg>\n");
    svg.0
}

/// The text so far.
struct Svg(String);

impl Svg {
    fn add(&mut self, element: &str) {
        self.0.push_str(element);
        self.0.push('\n');
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, fill: &str, text: &str) {
        self.add(&format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{fill}\">{text}</text>"));
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), stroke: &str, dash: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.add(&format!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{stroke}\" stroke-dasharray=\"{dash}\"/>"
        ));
    }

    fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, fill: &str) {
        self.add(&format!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{fill}\"/>"
        ));
    }

    fn mark(&mut self, x: f64, y: f64, mark: Mark) {
        self.add(&match mark {
            Mark::Killed => format!(
                "<path d=\"M{:.1} {:.1}l10 10m0 -10l-10 10\" stroke=\"#b00020\" stroke-width=\"2.5\" fill=\"none\"/>",
                x - 5.0,
                y - 5.0
            ),
            Mark::Stopped => {
                format!("<path d=\"M{:.1} {:.1}h10l-5 9z\" fill=\"#7b2fbe\" stroke=\"#ffffff\"/>", x - 5.0, y - 4.5)
            }
        });
    }

    fn legend(&mut self) {
        let (mut x, y) = (LEFT, 44.0);
        for mode in Mode::ALL {
            self.rect(x, y - 10.0, 16.0, 12.0, colour(mode));
            self.text(x + 21.0, y, "start", INK, mode.name());
            x += 78.0;
        }
        for (mark, text) in [(Mark::Killed, "killed by the kernel"), (Mark::Stopped, "stopped by the law")] {
            self.mark(x + 8.0, y - 4.0, mark);
            self.text(x + 21.0, y, "start", INK, text);
            x += 160.0;
        }
    }
}

/// One law.
struct Panel {
    top: f64,
    from: f64,
    machine: Machine,
}

impl Panel {
    fn x(&self, time: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * ((time - self.from) / DAY).clamp(0.0, 1.0)
    }

    /// A root, so that the few that matter are not all in one line.
    fn y(&self, bytes: f64) -> f64 {
        self.top + TOP + HEIGHT * (1.0 - (bytes / self.machine.total).clamp(0.0, 1.0).sqrt())
    }

    fn has(&self, time: f64) -> bool {
        (self.from..self.from + DAY).contains(&time)
    }

    fn draw(&self, svg: &mut Svg, kind: Kind, outcome: &Outcome) {
        let marks: Vec<(f64, Mark)> = outcome.marks.iter().copied().filter(|(time, _)| self.has(*time)).collect();
        // A point is the minute before it.
        let points: Vec<Point> = outcome.points.iter().copied().filter(|point| self.has(point.time - 60.0)).collect();
        let count = |of: Mark| marks.iter().filter(|(_, mark)| *mark == of).count();
        let (killed, stopped) = (count(Mark::Killed), count(Mark::Stopped));
        let title = format!("{}: {killed} killed, {stopped} stopped", kind.name());
        svg.text(LEFT, self.top + 20.0, "start", INK, &title);
        self.grid(svg);
        self.thresholds(svg, kind);
        self.memory(svg, &points);
        let bottom = self.y(0.0);
        for (time, mark) in marks {
            // A stop often follows a kill within seconds.
            let y = bottom - if mark == Mark::Killed { 7.0 } else { 21.0 };
            svg.mark(self.x(time), y, mark);
        }
        self.band(svg, bottom + 9.0, "dev", &points, |point| point.dev);
        self.band(svg, bottom + 12.0 + BAND, "review", &points, |point| point.review);
        self.agents(svg, bottom + 18.0 + 2.0 * BAND, &points);
    }

    fn grid(&self, svg: &mut Svg) {
        let (top, bottom) = (self.y(self.machine.total), self.y(0.0));
        for part in [0.0, 1.0 / 16.0, 0.25, 0.5, 1.0] {
            let bytes = part * self.machine.total;
            svg.line((LEFT, self.y(bytes)), (RIGHT, self.y(bytes)), "#d8dee4", "none");
            svg.text(LEFT - 6.0, self.y(bytes) + 4.0, "end", INK, &format!("{:.0} GiB", bytes / GIB));
        }
        for hour in (0..=24).step_by(3) {
            let x = self.x(self.from + f64::from(hour) * HOUR);
            svg.line((x, top), (x, bottom), "#d8dee4", "none");
            svg.text(x, bottom + 38.0 + 2.0 * BAND + STRIP, "middle", INK, &format!("{hour}:00"));
        }
    }

    fn thresholds(&self, svg: &mut Svg, kind: Kind) {
        let policy = factory::inventory::policy::Policy::default();
        let lines: Vec<(f64, &str)> = if kind == Kind::Skip {
            vec![(2.0 * GIB, "2 GiB")]
        } else {
            let bytes = |room: factory::inventory::policy::Room| {
                (room.percent.0 / 100.0 * self.machine.total).min(room.bytes.0 as f64)
            };
            let names = ["soft", "hard", "crit"];
            policy.mem.steps().into_iter().map(|(enter, _)| bytes(enter)).zip(names).collect()
        };
        for (bytes, name) in lines {
            svg.line((LEFT, self.y(bytes)), (RIGHT, self.y(bytes)), FAINT, "5 3");
            svg.text(RIGHT + 6.0, self.y(bytes) + 4.0, "start", INK, name);
        }
    }

    /// The least of each two minutes: a dip that ends in a kill is short.
    fn memory(&self, svg: &mut Svg, points: &[Point]) {
        let place = |pair: &[Point]| {
            let least = pair.iter().map(|point| point.available).fold(f64::INFINITY, f64::min);
            pair.first().map(|point| format!("{:.1},{:.1}", self.x(point.time), self.y(least)))
        };
        let places: Vec<String> = points.chunks(2).filter_map(place).collect();
        svg.add(&format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"#0b5cad\" stroke-width=\"1.3\"/>",
            places.join(" ")
        ));
    }

    fn band(&self, svg: &mut Svg, y: f64, name: &str, points: &[Point], mode: fn(&Point) -> Mode) {
        svg.text(LEFT - 6.0, y + BAND - 3.0, "end", INK, name);
        for same in points.chunk_by(|a, b| mode(a) == mode(b)) {
            let (Some(first), Some(last)) = (same.first(), same.last()) else { continue };
            let (from, to) = (self.x(first.time - 60.0), self.x(last.time));
            // What lasted a minute is still to be seen, also between longer ones.
            let width = (to - from).max(if mode(first) == Mode::Run { 0.0 } else { 1.6 });
            svg.rect(from, y, width, BAND, colour(mode(first)));
        }
    }

    /// How many dev agents ran, as steps.
    fn agents(&self, svg: &mut Svg, y: f64, points: &[Point]) {
        let most = self.machine.slots.max(1) as f64;
        let height = |agents: usize| y + STRIP * (1.0 - (agents as f64 / most).min(1.0));
        svg.text(LEFT - 6.0, y + STRIP / 2.0, "end", INK, "dev agents");
        svg.text(RIGHT + 6.0, y + 10.0, "start", INK, &format!("{most:.0}"));
        svg.text(RIGHT + 6.0, y + STRIP, "start", INK, "0");
        svg.line((LEFT, y + STRIP), (RIGHT, y + STRIP), FAINT, "none");
        let mut path = format!("M{LEFT:.1} {:.1}", y + STRIP);
        for same in points.chunk_by(|a, b| a.agents == b.agents) {
            let (Some(first), Some(last)) = (same.first(), same.last()) else { continue };
            path.push_str(&format!("V{:.1}H{:.1}", height(first.agents), self.x(last.time)));
        }
        svg.add(&format!("<path d=\"{path}V{:.1}z\" fill=\"#c9d7e8\"/>", y + STRIP));
    }
}
