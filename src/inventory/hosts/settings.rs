//! The variables that factory reads of a host, out of all that it has.

use serde_json::Value as Json;

use super::check::FACTORY;
use super::template::{self, Scope};
use super::vars::{Var, VarSet};
use crate::error::{Diagnostic, Diagnostics};
use crate::inventory::units::Bytes;
use crate::inventory::yaml::yaml11;

/// How a host is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Connection {
    /// Over SSH, which is Ansible's default also for a host named `localhost`.
    #[default]
    Ssh,
    /// This machine: commands run in a local shell.
    Local,
}

/// What was read, each at its default where nothing is set.
#[derive(Default)]
pub(super) struct Settings {
    pub connection: Connection,
    pub address: Option<String>,
    pub port: Option<u16>,
    pub user: Option<String>,
    pub key_file: Option<String>,
    pub common_args: Option<String>,
    pub extra_args: Option<String>,
    pub home: Option<String>,
    pub slots: Option<u32>,
    pub labels: Vec<String>,
    pub reserve: Option<Bytes>,
    pub disks: Vec<String>,
}

/// Of several names for one setting the later wins, as in Ansible's ssh plugin.
const ADDRESS: [&str; 2] = ["ansible_host", "ansible_ssh_host"];
const PORT: [&str; 2] = ["ansible_port", "ansible_ssh_port"];
const USER: [&str; 2] = ["ansible_user", "ansible_ssh_user"];
const KEY_FILE: [&str; 2] = ["ansible_private_key_file", "ansible_ssh_private_key_file"];

/// Reads the settings of a host; what is wrong goes to `problems` and stays at its default.
pub(super) fn read(vars: &VarSet, scope: &Scope, problems: &mut Diagnostics) -> Settings {
    let mut reader = Reader { vars, scope, problems };
    Settings {
        connection: reader.one(&["ansible_connection"], connection).unwrap_or_default(),
        address: reader.one(&ADDRESS, text),
        port: reader.one(&PORT, port),
        user: reader.one(&USER, text),
        key_file: reader.one(&KEY_FILE, text),
        common_args: reader.one(&["ansible_ssh_common_args"], text),
        extra_args: reader.one(&["ansible_ssh_extra_args"], text),
        home: reader.one(&[FACTORY[0]], home),
        slots: reader.one(&[FACTORY[1]], slots),
        labels: reader.one(&[FACTORY[2]], texts).unwrap_or_default(),
        reserve: reader.one(&[FACTORY[3]], bytes),
        disks: reader.one(&[FACTORY[4]], paths).unwrap_or_default(),
    }
}

/// What is wrong with a value, and what to write instead.
struct Wrong {
    message: String,
    help: String,
}

type Read<T> = std::result::Result<T, Wrong>;

struct Reader<'a> {
    vars: &'a VarSet,
    scope: &'a Scope,
    problems: &'a mut Diagnostics,
}

impl Reader<'_> {
    /// The value of the last of `names` that is set to something.
    fn one<T>(&mut self, names: &[&str], read: fn(&str, &Json) -> Read<T>) -> Option<T> {
        let (name, var) = names.iter().rev().find_map(|name| {
            let var = self.vars.get(name)?;
            (!var.value.is_null()).then_some((*name, var))
        })?;
        let json = match self.scope.render(&var.value) {
            Ok(json) => unwrapped(json),
            Err(why) => {
                let message = format!("the template in `{name}` cannot be rendered: {why}");
                let help = "templates see this host's variables, `inventory_hostname`, `group_names` and `groups`; \
                            lookups and Ansible's own filters are not there";
                self.tell(var, Wrong { message, help: help.to_owned() });
                return None;
            }
        };
        if json.is_null() || template::opaque(json.as_object().unwrap_or(&serde_json::Map::new())).is_some() {
            // What is left in a wrapper is encrypted, and told where it is set.
            return None;
        }
        match read(name, &json) {
            Ok(value) => Some(value),
            Err(mut wrong) => {
                // What a template renders to may be a secret of another variable.
                if json != unwrapped(var.value.clone()) {
                    wrong.message = format!("the template in `{name}` renders to a wrong value");
                }
                self.tell(var, wrong);
                None
            }
        }
    }

    fn tell(&mut self, var: &Var, wrong: Wrong) {
        let problem = Diagnostic::error(wrong.message).at(&var.place.source, var.place.span).help(wrong.help);
        self.problems.push(problem);
    }
}

/// `!unsafe` text is plain text here.
fn unwrapped(json: Json) -> Json {
    match json {
        Json::Object(map) => match template::opaque(&map) {
            Some((yaml11::UNSAFE, text)) => Json::String(text.to_owned()),
            _ => Json::Object(map),
        },
        Json::Array(items) => Json::Array(items.into_iter().map(unwrapped).collect()),
        other => other,
    }
}

fn wrong(name: &str, json: &Json, want: &str, help: &str) -> Wrong {
    let found = match json {
        Json::Null => "nothing".to_owned(),
        Json::Array(_) => "a list".to_owned(),
        Json::Object(_) => "a mapping".to_owned(),
        scalar => format!("`{}`", scalar.as_str().map_or_else(|| scalar.to_string(), str::to_owned)),
    };
    Wrong { message: format!("`{name}` is {found}, and must be {want}"), help: help.to_owned() }
}

fn text(name: &str, json: &Json) -> Read<String> {
    match json {
        Json::String(text) if !text.trim().is_empty() && !text.contains(['\n', '\0']) => Ok(text.clone()),
        Json::Number(number) => Ok(number.to_string()),
        Json::String(_) => Err(wrong(name, json, "one line of text", "leave the line out to use the default")),
        _ => Err(wrong(name, json, "text", "put it in quotes")),
    }
}

fn connection(name: &str, json: &Json) -> Read<Connection> {
    let word = text(name, json)?;
    match word.strip_prefix("ansible.builtin.").unwrap_or(&word) {
        "ssh" | "smart" => Ok(Connection::Ssh),
        "local" => Ok(Connection::Local),
        _ => Err(wrong(name, json, "`ssh` or `local`", "factory knows no other way to a host")),
    }
}

fn port(name: &str, json: &Json) -> Read<u16> {
    let number = match json {
        Json::Number(number) => number.to_string().parse().ok(),
        Json::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|port| *port > 0).ok_or_else(|| wrong(name, json, "a port", "a port is a number from 1 to 65535"))
}

fn slots(name: &str, json: &Json) -> Read<u32> {
    let number = match json {
        Json::Number(number) => number.to_string().parse().ok(),
        Json::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| wrong(name, json, "a whole number", "how many agents may run here at once, such as `2`"))
}

fn bytes(name: &str, json: &Json) -> Read<Bytes> {
    let help = "write it like `2.5GiB`, `512MiB` or `10GB`";
    let text = match json {
        Json::Number(number) => number.to_string(),
        Json::String(text) => text.clone(),
        _ => return Err(wrong(name, json, "an amount of memory", help)),
    };
    text.parse().map_err(|_| wrong(name, json, "an amount of memory", help))
}

fn home(name: &str, json: &Json) -> Read<String> {
    path(name, json).and_then(|path| {
        if path == "/" || path == "~" {
            return Err(wrong(name, json, "a directory of factory's own", "the default is `~/.factory`"));
        }
        Ok(path)
    })
}

fn path(name: &str, json: &Json) -> Read<String> {
    let path = text(name, json)?;
    if path.starts_with('/') || path == "~" || path.starts_with("~/") {
        return Ok(path);
    }
    Err(wrong(name, json, "a path from `/` or `~/`", "it is a path on the host, which has no current directory"))
}

/// A list of texts; one text alone is a list of one.
fn texts(name: &str, json: &Json) -> Read<Vec<String>> {
    match json {
        Json::Array(items) => items.iter().map(|item| text(name, item)).collect(),
        Json::String(_) => Ok(vec![text(name, json)?]),
        _ => Err(wrong(name, json, "a list of text", "write `[a, b]`, and put words such as `yes` in quotes")),
    }
}

fn paths(name: &str, json: &Json) -> Read<Vec<String>> {
    match json {
        Json::Array(items) => items.iter().map(|item| path(name, item)).collect(),
        _ => Ok(vec![path(name, json)?]),
    }
}
