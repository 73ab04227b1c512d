//! What may not stand in an inventory though Ansible takes it: passwords, vault values, and variables that look like
//! ours and are not. These never stop `inventory list` and `inventory graph`.

use serde_json::Value as Json;

use super::template;
use super::vars::Var;
use crate::error::{Diagnostic, Place};
use crate::inventory::yaml::{is_secret_name, yaml11};

/// Every variable of ours.
pub(super) const FACTORY: [&str; 5] =
    ["factory_home", "factory_slots", "factory_labels", "factory_reserve", "factory_disks"];

/// The problem with an encrypted value at `place`.
pub(super) fn vault(place: &Place) -> Diagnostic {
    Diagnostic::error("a value encrypted with ansible-vault, which factory does not decrypt")
        .at(&place.source, place.span)
        .help("factory logs in with keys only: take the value out of this inventory, or keep it in a file for Ansible alone")
        .secret()
}

/// What is wrong with setting the variable `name` at all, whatever host it reaches.
pub(super) fn definition(name: &str, var: &Var) -> Option<Diagnostic> {
    let at_key = |diagnostic: Diagnostic| diagnostic.at(&var.key.source, var.key.span);
    if name.starts_with("ansible_") && is_secret_name(name) && !is_empty(&var.value) {
        return Some(
            Diagnostic::error(format!("`{name}` is a secret in plain sight"))
                .at(&var.place.source, var.place.span)
                .help("factory logs in with keys only: set `ansible_ssh_private_key_file`, or load the key into ssh-agent")
                .secret(),
        );
    }
    if holds_vault(&var.value) {
        return Some(vault(&var.place));
    }
    if name.starts_with("factory_") && !FACTORY.contains(&name) {
        let help = match super::near(name, FACTORY.into_iter()) {
            Some(known) => format!("did you mean `{known}`?"),
            None => format!("the variables of factory are {}", FACTORY.join(", ")),
        };
        return Some(at_key(Diagnostic::error(format!("unknown variable `{name}`"))).help(help));
    }
    if name.starts_with("ansible_become") {
        return Some(
            at_key(Diagnostic::note(format!("`{name}` has no effect yet")))
                .help("factory works as the login user; `become` is read by playbooks only"),
        );
    }
    None
}

fn is_empty(value: &Json) -> bool {
    value.is_null() || value.as_str() == Some("")
}

fn holds_vault(value: &Json) -> bool {
    match value {
        Json::Array(items) => items.iter().any(holds_vault),
        Json::Object(map) => match template::opaque(map) {
            Some((wrapper, _)) => wrapper == yaml11::VAULT,
            None => map.values().any(holds_vault),
        },
        _ => false,
    }
}
