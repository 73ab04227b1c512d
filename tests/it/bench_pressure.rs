//! The simulation of `benches/pressure`, one day of it: that the ladder keeps a host from running out of memory is no
//! claim of a page that nobody runs again. It is here since a bench without a harness runs no tests.
#![allow(dead_code)]

#[path = "../../benches/pressure/agents.rs"]
mod agents;
#[path = "../../benches/pressure/dice.rs"]
mod dice;
#[path = "../../benches/pressure/host.rs"]
mod host;
#[path = "../../benches/pressure/laws.rs"]
mod laws;
#[path = "../../benches/pressure/picture.rs"]
mod picture;
#[path = "../../benches/pressure/week.rs"]
mod week;
#[path = "../../benches/pressure/work.rs"]
mod work;

use dice::Dice;
use host::{Host, Machine};
use laws::{Kind, Setting};
use week::{Outcome, run};

fn day(kind: Kind) -> Outcome {
    run(Setting::new(kind, Machine::LARGE), 1, 1)
}

#[test]
fn a_day_under_the_ladder_has_fewer_kills_than_a_look_at_free_memory_and_still_gets_work_done() {
    let (law, skip, nothing) = (day(Kind::Law), day(Kind::Skip), day(Kind::Nothing));
    assert!(skip.kills >= 10 && nothing.kills >= 10, "a day without trouble shows nothing: {skip:?}");
    assert!(law.kills * 4 < skip.kills, "{} kills under the law, {} under skip", law.kills, skip.kills);
    assert!(law.flips < skip.flips, "{} flips under the law, {} under skip", law.flips, skip.flips);
    assert!(law.dev * 4 > skip.dev * 3, "{} tasks under the law, {} under skip", law.dev, skip.dev);
    assert!(law.stops > 0 && skip.stops == 0);
}

#[test]
fn the_same_seed_is_the_same_day() {
    let days = [day(Kind::Law), day(Kind::Law)].map(|outcome| format!("{outcome:?}"));
    assert!(days[0] == days[1]);
    let other = run(Setting::new(Kind::Law, Machine::LARGE), 2, 1);
    assert!(format!("{other:?}") != days[0]);
    let longer = run(Setting::new(Kind::Law, Machine::LARGE), 1, 2);
    let first = &longer.points[..24 * 60];
    assert!(
        format!("{first:?}") == format!("{:?}", day(Kind::Law).points),
        "the first day of two is another than one alone"
    );
    // What one thing draws depends on nothing but its name.
    let row = |thing: &[u64]| Dice::of(7, thing).unit();
    assert!(row(&[1, 2]) == row(&[1, 2]) && row(&[1, 2]) != row(&[2, 1]) && row(&[1]) != row(&[1, 0]));
    assert!((0..1000).all(|at| (0.0..1.0).contains(&row(&[at]))));
}

#[test]
fn what_does_not_fit_goes_to_swap_and_then_is_short() {
    let gib = agents::GIB;
    let mut large = Host::new(Machine::LARGE);
    assert!(!large.is_short(15.0 * gib) && large.is_short(16.0 * gib));
    let mut small = Host::new(Machine::SMALL);
    assert!(!small.is_short(9.5 * gib), "2 GiB of swap are for that");
    assert!(small.is_short(10.0 * gib));
    let sample = small.sample(0.0, &[]);
    assert!(sample.is_whole() && sample.mem.unwrap().available == Some(0), "{sample:?}");
}

/// Panics unless this is one element with everything in it closed, in order, and quoted.
fn well_formed(svg: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = svg.trim();
    assert!(rest.starts_with("<svg ") && rest.ends_with("</svg>") && rest.is_ascii());
    while let Some((text, tag)) = rest.split_once('<') {
        assert!(!text.contains(['>', '&']), "{text}");
        let (tag, after) = tag.split_once('>').unwrap();
        let name = tag.split(' ').next().unwrap().trim_end_matches('/');
        if let Some(name) = name.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else {
            // Between the quotes of two values there is nothing but the next name.
            let pieces: Vec<&str> = tag.trim_end_matches('/').split('"').collect();
            assert_eq!(pieces.len() % 2, 1, "{tag}");
            assert!(pieces.iter().step_by(2).rev().skip(1).all(|piece| piece.ends_with('=')), "{tag}");
            assert!(!tag.contains("NaN") && !tag.contains("inf"), "{tag}");
            if !tag.ends_with('/') {
                open.push(name);
            }
        }
        rest = after;
        assert!(!open.is_empty() || rest.is_empty(), "something behind the end: {rest}");
    }
    assert_eq!(open, Vec::<&str>::new());
}

#[test]
fn the_picture_is_well_formed_and_small() {
    let drawn = picture::draw(&[(Kind::Law, day(Kind::Law)), (Kind::Skip, day(Kind::Skip))], Machine::LARGE, 1);
    let kept = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/pressure.svg")).unwrap();
    for svg in [&drawn, &kept] {
        well_formed(svg);
        assert!(svg.len() < 200_000, "{} bytes", svg.len());
        for text in ["this law", "skip below 2 GiB", "soft", "hard", "crit", "RUN", "HOLD", "STOP", "24:00"] {
            assert!(svg.contains(text), "no {text}");
        }
    }
}
