//! Practices, as the text that agents are given and as JSON.

use serde_json::json;

use super::Ui;
use super::table::plain;
use crate::cli::global::Form;
use crate::policy::practices::{Practice, text};

/// Shows the merged practices of a repo; with `origin` the text says where each section came from, as JSON always does.
pub fn show(ui: &Ui, repo: &str, practices: &[Practice], origin: bool) {
    if ui.form != Form::Text {
        ui.object("practices", &json!({ "repo": repo, "files": practices, "text": text(practices, false) }));
        return;
    }
    let text = text(practices, origin);
    if text.is_empty() {
        ui.note(&format!("nothing: {repo} has no practices"));
        return;
    }
    // Tabs are text; what else controls a terminal is not.
    let line = |line: &str| line.split('\t').map(plain).collect::<Vec<_>>().join("\t");
    ui.print(&text.lines().map(line).collect::<Vec<_>>().join("\n"));
}
