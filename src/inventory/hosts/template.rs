//! Jinja templates in values that we read, rendered over the host's own variables.

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::value::{Object, Value as Jinja};
use minijinja::{Environment, UndefinedBehavior};
use serde_json::{Map, Value as Json};

use super::vars::VarSet;
use crate::inventory::yaml::yaml11;

/// How many steps one template may take, and how deep variables may name one another.
const FUEL: u64 = 200_000;
const MAX_DEPTH: usize = 20;

/// How long a template and what it renders to may be, in bytes.
const MAX_TEXT: usize = 64 << 10;

/// The names that a template of one host sees: its variables, themselves rendered when they are looked at, and
/// `inventory_hostname`, `inventory_hostname_short`, `group_names` and `groups`.
#[derive(Clone)]
pub(super) struct Scope {
    vars: Arc<VarSet>,
    magic: Arc<BTreeMap<&'static str, Jinja>>,
    groups: Jinja,
    depth: usize,
}

impl std::fmt::Debug for Scope {
    /// Without values, which may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scope")
    }
}

impl Scope {
    /// The scope of the host `name` in the groups `group_names`; `groups` maps every group to its hosts.
    pub fn new(name: &str, group_names: &[String], groups: &Jinja, vars: &Arc<VarSet>) -> Scope {
        let short = if super::address::is_ip(name) { name } else { name.split('.').next().unwrap_or(name) };
        let magic = BTreeMap::from([
            ("inventory_hostname", Jinja::from(name)),
            ("inventory_hostname_short", Jinja::from(short)),
            ("group_names", group_names.iter().map(String::as_str).collect()),
        ]);
        Scope { vars: Arc::clone(vars), magic: Arc::new(magic), groups: groups.clone(), depth: 0 }
    }

    /// `value` with every template in it rendered; a text that is one `{{ expression }}` and nothing else becomes
    /// that expression's value, whatever its type.
    ///
    /// # Errors
    /// Why it cannot be rendered: an unknown name, a syntax error, a circle of variables.
    pub fn render(&self, value: &Json) -> Result<Json, String> {
        if !has_template(value) {
            return Ok(value.clone());
        }
        match value {
            Json::String(text) => to_json(&self.text(text).map_err(|error| reason(&error))?, 0),
            Json::Array(items) => items.iter().map(|item| self.render(item)).collect(),
            Json::Object(map) => {
                map.iter().map(|(key, item)| Ok((key.clone(), self.render(item)?))).collect::<Result<_, String>>()
            }
            other => Ok(other.clone()),
        }
    }

    fn text(&self, text: &str) -> Result<Jinja, minijinja::Error> {
        let invalid = |why: &str| minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, why.to_owned());
        if self.depth >= MAX_DEPTH {
            return Err(invalid("its variables name one another in a circle"));
        }
        if text.len() > MAX_TEXT {
            return Err(invalid("it is too long for a template"));
        }
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        let inside = text.trim().strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
        let scope = Jinja::from_object(Scope { depth: self.depth + 1, ..self.clone() });
        if let Some(expression) = inside.filter(|inside| !inside.contains("{{") && !inside.contains("}}")) {
            let compiled = environment.compile_expression(expression)?;
            let value = compiled.eval(scope);
            return match value {
                Ok(value) if !value.is_undefined() => Ok(value),
                Err(error) if error.kind() != minijinja::ErrorKind::UndefinedError => Err(error),
                _ => Err(self.undefined(compiled.undeclared_variables(false))),
            };
        }
        let compiled = environment.template_from_str(text)?;
        match compiled.render(scope) {
            Err(error) if error.kind() == minijinja::ErrorKind::UndefinedError => {
                Err(self.undefined(compiled.undeclared_variables(false)))
            }
            other => other.map(Jinja::from),
        }
    }

    /// Which of the names that a template asks for is not there.
    fn undefined(&self, asked: std::collections::HashSet<String>) -> minijinja::Error {
        let known = |name: &str| name == "groups" || self.magic.contains_key(name) || self.vars.get(name).is_some();
        let mut missing: Vec<String> = asked.into_iter().filter(|name| !known(name)).collect();
        missing.sort_unstable();
        let why = match missing.first() {
            Some(name) => match super::near(name, self.vars.iter().map(|(name, _)| name)) {
                Some(near) => format!("`{name}` is not defined; did you mean `{near}`?"),
                None => format!("`{name}` is not defined"),
            },
            None => "a part of it is not defined".to_owned(),
        };
        minijinja::Error::new(minijinja::ErrorKind::UndefinedError, why)
    }

    fn look_up(&self, json: &Json) -> Jinja {
        match json {
            Json::Null => Jinja::from(()),
            Json::Bool(truth) => Jinja::from(*truth),
            Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Jinja::from(whole),
                (None, Some(float)) => Jinja::from(float),
                (None, None) => Jinja::from(number.to_string()),
            },
            Json::String(text) if is_template(text) => self.text(text).unwrap_or_else(Jinja::from),
            Json::String(text) => Jinja::from(text.as_str()),
            Json::Array(items) => items.iter().map(|item| self.look_up(item)).collect(),
            Json::Object(map) => match opaque(map) {
                Some((yaml11::UNSAFE, text)) => Jinja::from(text),
                Some(_) => Jinja::from(minijinja::Error::new(
                    minijinja::ErrorKind::InvalidOperation,
                    "it needs a value that is encrypted with ansible-vault",
                )),
                None => map.iter().map(|(key, item)| (key.clone(), self.look_up(item))).collect(),
            },
        }
    }
}

impl Object for Scope {
    fn get_value(self: &Arc<Self>, key: &Jinja) -> Option<Jinja> {
        let name = key.as_str()?;
        if name == "groups" {
            return Some(self.groups.clone());
        }
        self.magic.get(name).cloned().or_else(|| self.vars.get(name).map(|var| self.look_up(&var.value)))
    }
}

/// The one key of a wrapped `!unsafe` or `!vault` text, and that text.
pub(super) fn opaque(map: &Map<String, Json>) -> Option<(&'static str, &str)> {
    let known = [yaml11::UNSAFE, yaml11::VAULT];
    let (key, value) = map.iter().next().filter(|_| map.len() == 1)?;
    Some((known.into_iter().find(|name| name == key)?, value.as_str()?))
}

fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%")
}

fn has_template(value: &Json) -> bool {
    match value {
        Json::String(text) => is_template(text),
        Json::Array(items) => items.iter().any(has_template),
        Json::Object(map) => opaque(map).is_none() && map.values().any(has_template),
        _ => false,
    }
}

/// minijinja's message without its line numbers, which count from the template and not from the file.
fn reason(error: &minijinja::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    match innermost.downcast_ref::<minijinja::Error>() {
        Some(error) => error.detail().map_or_else(|| error.kind().to_string(), str::to_owned),
        None => innermost.to_string(),
    }
}

fn to_json(value: &Jinja, depth: usize) -> Result<Json, String> {
    use minijinja::value::ValueKind;
    let shown = || value.to_string();
    if depth > MAX_DEPTH {
        return Err("its value nests too deep".to_owned());
    }
    Ok(match value.kind() {
        ValueKind::Undefined | ValueKind::None => Json::Null,
        ValueKind::Bool => Json::Bool(value.is_true()),
        ValueKind::Number => shown().parse().map_or_else(|_| Json::String(shown()), Json::Number),
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter().map_err(|error| reason(&error))?;
            Json::Array(items.map(|item| to_json(&item, depth + 1)).collect::<Result<_, _>>()?)
        }
        ValueKind::Map => {
            let mut map = Map::new();
            for key in value.try_iter().map_err(|error| reason(&error))? {
                let item = value.get_item(&key).map_err(|error| reason(&error))?;
                map.insert(key.to_string(), to_json(&item, depth + 1)?);
            }
            Json::Object(map)
        }
        ValueKind::Invalid => return Err(shown()),
        _ => Json::String(shown()),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scope(vars: Json) -> Scope {
        let source = Arc::new(crate::error::SourceFile { path: "hosts.yml".into(), text: String::new() });
        let place = crate::error::Place { source, span: Default::default() };
        let mut set = VarSet::default();
        for (name, value) in vars.as_object().unwrap() {
            let (place, key) = (place.clone(), place.clone());
            set.set(name, Arc::new(super::super::vars::Var { value: value.clone(), place, key, size: 1 }));
        }
        Scope::new("web1.example.org", &["web".to_owned()], &Jinja::from(()), &Arc::new(set))
    }

    #[test]
    fn templates_see_variables_and_their_templates() {
        let scope =
            scope(json!({"base": 2200, "n": 2, "domain": "{{ env }}.example.org", "env": "prod", "list": ["a"]}));
        for (text, want) in [
            ("plain", json!("plain")),
            ("{{ base + n }}", json!(2202)),
            ("web.{{ domain }}", json!("web.prod.example.org")),
            ("{{ inventory_hostname_short }}", json!("web1")),
            ("{{ list + group_names }}", json!(["a", "web"])),
            ("{{ missing | default('x') }}", json!("x")),
            ("{% if n > 1 %}many{% endif %}", json!("many")),
        ] {
            assert_eq!(scope.render(&json!(text)), Ok(want), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_rendered_says_why() {
        let scope = scope(json!({"a": "{{ b }}", "b": "{{ a }}", "v": {"__ansible_vault": "x"}}));
        for text in ["{{ missing }}", "x{{ missing }}", "{{ a }}", "{{ ", "{{ lookup('env', 'X') }}", "{{ v }}"] {
            let why = scope.render(&json!(text)).unwrap_err();
            assert!(!why.is_empty(), "{text}");
        }
        assert_eq!(scope.render(&json!({"__ansible_unsafe": "{{ x }}"})), Ok(json!({"__ansible_unsafe": "{{ x }}"})));
    }
}
