//! What is done on hosts, in words.

use crate::policy::hold::{Note, ids};
use crate::remote::crontab::{Edit, Mark};
use crate::remote::guard::{Op, Stopped as What};

/// What a plan notes about a hold: how bad it is, and the sentence.
pub fn describe(note: &Note, host: &str) -> (u8, String) {
    match note {
        Note::PutBack { id, file } => (1, format!("hold {id} was gone from {file} on {host}: it is put back")),
        Note::GivenUp { id, file } if ids().any(|ladder| ladder == id) => {
            let why = "somebody keeps taking it away, and agents that look for it may start there";
            (2, format!("what pressure holds is gone again from {file} on {host}: it is left so; {why}"))
        }
        Note::GivenUp { id, file } => {
            (2, format!("hold {id} is gone again from {file} on {host}: it is left so; hold it anew or resume it"))
        }
    }
}

/// What an op does, for people.
pub fn words(op: &Op) -> String {
    let files = files(op);
    match op {
        Op::Seal => "seal".to_owned(),
        Op::Adopt => "adopt".to_owned(),
        Op::Repair => "repair".to_owned(),
        Op::Halt { .. } => format!("hold {files}"),
        Op::Resume { .. } => format!("release {files}"),
        Op::Launch(job) => format!("launch {}", job.token),
        Op::Cancel { token } => format!("cancel {token}"),
        Op::Stop(stop) => match &stop.what {
            What::Run(token) => format!("stop {token}"),
            What::Process { pid, .. } => format!("stop process {pid}"),
        },
        Op::Gc { .. } => "clean up".to_owned(),
        Op::Cron(Edit::Hold { wanted, ours }) => lines_words(wanted, ours),
        Op::Cron(edit) => edit.to_string(),
        Op::CronRead => "read the crontabs".to_owned(),
        Op::CronWrite(write) => format!("write crontab {}", write.table.word()),
    }
}

/// `hold crontab lines of dev, release those of review`.
fn lines_words(wanted: &[Mark], ours: &[String]) -> String {
    let mut held: Vec<&str> = wanted.iter().map(|mark| mark.key.as_str()).collect();
    held.dedup();
    let free: Vec<&str> = ours.iter().map(String::as_str).filter(|key| !held.contains(key)).collect();
    match (held.is_empty(), free.is_empty()) {
        (_, true) => format!("hold crontab lines of {}", held.join(", ")),
        (true, false) => format!("release crontab lines of {}", free.join(", ")),
        (false, false) => format!("hold crontab lines of {}, release those of {}", held.join(", "), free.join(", ")),
    }
}

/// The halt files that an op is about, and the files that it hides or shows.
pub fn files(op: &Op) -> String {
    let mut names: Vec<String> = match op {
        Op::Halt { add, .. } => add.iter().map(|(file, _)| file.to_string()).collect(),
        Op::Resume { drop, .. } => drop.iter().map(|(file, _)| file.to_string()).collect(),
        _ => Vec::new(),
    };
    match op {
        Op::Halt { hide, .. } => names.extend(hide.iter().cloned()),
        Op::Resume { show, .. } => names.extend(show.iter().map(|(path, _)| path.clone())),
        Op::Cron(Edit::Hold { wanted, ours }) => {
            let keys = wanted.iter().map(|mark| &mark.key).chain(ours);
            names.extend(keys.map(|key| format!("crontab:{key}")));
        }
        Op::Cron(_) => names.push("crontab".to_owned()),
        _ => {}
    }
    names.sort();
    names.dedup();
    names.join(", ")
}
