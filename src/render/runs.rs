//! Runs that were launched and stopped, for people.

use std::time::Duration;

use serde_json::{Value, json};

use super::Ui;
use super::table::{Field, Sheet, length, plain};
use crate::cli::global::Form;
use crate::inventory::units::{Bytes, Span};
use crate::journal::Event;
use crate::policy::claim::{Claim, Ending, name};
use crate::remote::guard::Job;
use crate::tick::claims::event;
use crate::tick::drive::Driven;
use crate::tick::launch::Launched;
use crate::tick::stop::Ended;

/// What a launch would start, on stdout. The names of secrets are shown, never their values.
pub fn show_would_launch(job: &Job, host: &str, ui: &Ui) {
    let secrets: Vec<&String> = job.secrets.0.keys().collect();
    if ui.form != Form::Text {
        let value = json!({ "check": true, "host": host, "repo": job.repo, "agent": job.agent, "argv": job.argv,
            "dir": job.dir, "env": job.env, "secrets": secrets, "time_limit_s": job.time_limit.as_secs(),
            "memory": job.memory, "practices_bytes": job.practices.as_ref().map_or(0, String::len) });
        return ui.object("launch", &value);
    }
    let words = job.argv.iter().map(|word| shlex::try_quote(word).map_or(word.clone(), |quoted| quoted.into_owned()));
    let mut text = format!("would launch on {host}: {}\n", words.collect::<Vec<_>>().join(" "));
    text.push_str(&format!("  in {}", job.dir.as_deref().unwrap_or("the home directory")));
    text.push_str(&format!(", for at most {}, with {} kept for it\n", Span(job.time_limit), Bytes(job.memory)));
    if let Some(practices) = &job.practices {
        let shown = match job.repo.as_str() {
            "*" => "the shared ones".to_owned(),
            repo => format!("as `factory practices show {repo}` has them"),
        };
        text.push_str(&format!("  with practices of {}, {shown}\n", Bytes(practices.len() as u64)));
    }
    for (name, value) in &job.env {
        text.push_str(&format!("  {name}={}\n", plain(value)));
    }
    secrets.iter().for_each(|name| text.push_str(&format!("  {name}=(secret)\n")));
    ui.print(&text);
}

/// What became of a launch: the token alone on stdout, so that a script can take it, the rest on stderr.
pub fn show_launched(launched: &Launched, ui: &Ui) {
    let Launched { task, claim, driven, .. } = launched;
    let words = sentence(launched);
    if ui.form != Form::Text {
        let help = help(claim, driven);
        let value = json!({ "token": claim.token, "task": task, "host": claim.host, "repo": claim.repo,
            "agent": claim.agent, "state": state(driven), "message": words, "help": help });
        return ui.object("launch", &value);
    }
    match driven {
        Driven::Runs | Driven::Over(Ending::Done(_)) => {
            ui.print(&format!("{}\n", claim.token));
            ui.note(&words);
        }
        _ => ui.warn(&words),
    }
    if let Some(help) = help(claim, driven) {
        ui.note(&format!("  help: {help}"));
    }
}

fn state(driven: &Driven) -> &'static str {
    match driven {
        Driven::Runs => "running",
        Driven::Over(_) => "over",
        Driven::Held(_) => "held",
        Driven::Open(_) => "unknown",
        Driven::Never(_) => "refused",
    }
}

fn sentence(launched: &Launched) -> String {
    let Launched { task, claim, driven, .. } = launched;
    let (run, host) = (name(task, claim), &claim.host);
    match driven {
        Driven::Runs => format!("{run} runs on {host}"),
        Driven::Over(ending) => {
            let hold = launched.hold.as_ref().map(|hold| format!(": held: {}, by {}", hold.scope, plain(&hold.by)));
            format!("{run} {ending} on {host}{}", hold.unwrap_or_default())
        }
        Driven::Held(by) => format!("{run} did not begin: it is held on {host} ({})", plain(by)),
        Driven::Open(stopped) => format!("nobody knows yet whether {run} has begun on {host}: {stopped}"),
        Driven::Never(stopped) => format!("{run} did not begin on {host}: {stopped}"),
    }
}

fn help(claim: &Claim, driven: &Driven) -> Option<String> {
    match driven {
        Driven::Runs => Some(format!("`factory logs -f {0}` follows it, `factory stop {0}` ends it", claim.token)),
        Driven::Over(Ending::Cancelled) => None,
        Driven::Over(_) => Some(format!("`factory logs {}` shows what it wrote", claim.token)),
        Driven::Held(_) => Some(format!("`factory resume --host {} --agent {}` lifts holds", claim.host, claim.agent)),
        Driven::Open(_) => {
            Some(format!("the next `factory run` finishes it; `factory stop {}` takes it back", claim.token))
        }
        Driven::Never(stopped) => stopped.advice(&claim.host),
    }
}

/// A launch, for the journal.
pub fn launched_event(launched: &Launched) -> Event {
    let severity = u8::from(!matches!(launched.driven, Driven::Runs | Driven::Over(Ending::Done(_))));
    event(&launched.claim.host, severity, format!("{}, asked for by {}", sentence(launched), plain(&launched.claim.by)))
}

/// A row for each run that was to stop, on stdout: its host, its token, what became of it.
pub fn show_stopped(kind: &str, told: &[(String, String, Ended)], ui: &Ui) {
    if ui.form != Form::Text {
        return ui.object(kind, &json!({ "runs": stopped_json(told) }));
    }
    if told.is_empty() {
        return;
    }
    let mut sheet = Sheet::new(ui.out, &["HOST", "TOKEN", "STATE", "NOTE"]);
    for (host, token, ended) in told {
        let (word, level, note) = became(ended, host);
        sheet.row([Field::text(host), Field::text(token), Field::text(word).level(level), Field::text(note)]);
    }
    ui.print(&sheet.to_string());
}

/// The same as JSON.
pub fn stopped_json(told: &[(String, String, Ended)]) -> Vec<Value> {
    let row = |(host, token, ended): &(String, String, Ended)| {
        let (word, _, note) = became(ended, host);
        json!({ "host": host, "token": token, "became": word, "note": note })
    };
    told.iter().map(row).collect()
}

/// A word, its colour, and what goes with it.
fn became(ended: &Ended, host: &str) -> (&'static str, u8, String) {
    let how =
        |ending: &Option<crate::policy::claim::Ending>| ending.map(|ending| format!("it {ending}")).unwrap_or_default();
    let seconds = |time: &Duration| length(time.as_secs());
    match ended {
        Ended::Gone(ending) => ("stopped", 0, how(ending)),
        Ended::Before(ending) => ("over", 0, how(ending)),
        Ended::Told(drain, kill) if drain.is_zero() => {
            ("stopping", 1, format!("told to end; killed in {} if it does not", seconds(kill)))
        }
        Ended::Told(drain, _) => ("draining", 1, format!("may go on for {}, then it is stopped", seconds(drain))),
        Ended::Lives => ("alive", 3, format!("it was killed and something of it lives: `factory ps -l {host}`")),
        Ended::Not(stopped) => {
            let advice = stopped.advice(host).map(|advice| format!("; {advice}")).unwrap_or_default();
            ("not stopped", 4, format!("{stopped}{advice}"))
        }
    }
}

/// Stops, for the journal.
pub fn stopped_events(told: &[(String, String, Ended)], by: &str) -> Vec<Event> {
    let of = |(host, token, ended): &(String, String, Ended)| {
        let (word, level, note) = became(ended, host);
        let note = if note.is_empty() { String::new() } else { format!(": {note}") };
        event(host, level.min(3), format!("{} asked for run {token} to stop: {word}{note}", plain(by)))
    };
    told.iter().map(of).collect()
}
