//! `docs/inventory.md` lists every key with its default: its tables are made from the schemas, which come from the
//! types. Written anew with `FACTORY_WRITE_DOCS=1 cargo test --test it reference`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use factory::inventory::schema::{Kind, schema};
use serde_json::Value;

/// The tables of one file: the file itself, then each type in the order in which it is met.
struct Tables<'a> {
    root: &'a Value,
    out: String,
    waiting: Vec<(String, String)>,
    done: BTreeSet<String>,
}

impl<'a> Tables<'a> {
    fn definition(&self, name: &str) -> &'a Value {
        &self.root["$defs"][name]
    }

    /// The type as people say it; a type with keys of its own waits for its table.
    fn kind(&mut self, path: &str, value: &'a Value) -> String {
        if let Some(name) = value["$ref"].as_str().and_then(|name| name.rsplit('/').next()) {
            return match name {
                "Span" => "time".into(),
                "Bytes" => "amount".into(),
                "Percent" => "percentage".into(),
                "Url" => "address".into(),
                "SecretRef" => "secret".into(),
                "SecretUrl" => "address, a secret".into(),
                "Slug" => "OWNER/NAME".into(),
                "Name" => "name".into(),
                "EnvValue" => "text or secret".into(),
                "Argv" => "list of text".into(),
                _ => self.named(path, name),
            };
        }
        if let Some(all) = value["anyOf"].as_array() {
            return all
                .iter()
                .filter(|one| one["type"] != "null")
                .map(|one| self.kind(path, one))
                .collect::<Vec<_>>()
                .join(" or ");
        }
        let name = match &value["type"] {
            Value::Array(names) => names.iter().find(|name| *name != "null").unwrap().as_str().unwrap(),
            name => name.as_str().unwrap_or("?"),
        };
        match name {
            "string" => "text".into(),
            "integer" => "whole number".into(),
            "number" => "number".into(),
            "boolean" => "true or false".into(),
            "array" => format!("list of {}", self.kind(&format!("{path}[]"), &value["items"])),
            "object" => match value["patternProperties"].as_object().and_then(|all| all.values().next()) {
                Some(inner) => format!("by name: {}", self.kind(&format!("{path}.NAME"), inner)),
                None => "mapping".into(),
            },
            other => other.into(),
        }
    }

    fn named(&mut self, path: &str, name: &str) -> String {
        let definition = self.definition(name);
        let variants = definition["oneOf"].as_array().or(definition["anyOf"].as_array());
        if let Some(variants) = variants
            && variants.iter().all(|variant| variant["const"].is_string())
        {
            let words: Vec<String> =
                variants.iter().map(|word| format!("`{}`", word["const"].as_str().unwrap())).collect();
            return words.join(", ");
        }
        if self.done.insert(name.to_owned()) {
            self.waiting.push((path.to_owned(), name.to_owned()));
            return "mapping, below".into();
        }
        let first = self.waiting.iter().find(|(_, known)| known == name).map(|(path, _)| path.clone());
        first.map_or_else(|| "mapping, the same as above".into(), |first| format!("mapping, as `{first}`"))
    }

    fn table(&mut self, path: &str, value: &'a Value) {
        let Some(properties) = value["properties"].as_object().filter(|all| !all.is_empty()) else { return };
        self.out.push_str("| key | value | default | meaning |\n|---|---|---|---|\n");
        let required: Vec<&str> =
            value["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (key, property) in properties {
            let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let kind = match property["const"].as_str() {
                Some(word) => format!("`{word}`"),
                None => self.kind(&below, property),
            };
            let text = property["description"].as_str().unwrap_or_default().replace('\n', " ");
            let (meaning, told) = match text.rsplit_once(" Default") {
                Some((meaning, told)) => {
                    (meaning.to_owned(), told.trim_start_matches([':', ' ']).trim_end_matches('.').to_owned())
                }
                None => (text, String::new()),
            };
            let default = match &property["default"] {
                _ if required.contains(&key.as_str()) => "must be given".to_owned(),
                _ if !told.is_empty() => told,
                Value::Null => String::new(),
                Value::Object(_) if kind.starts_with("mapping, ") && property["default"]["kind"].is_null() => {
                    String::new()
                }
                Value::Object(map) if map.is_empty() => "none".to_owned(),
                Value::Array(list) if list.is_empty() => "none".to_owned(),
                Value::Object(map) => {
                    let pairs: Vec<String> =
                        map.iter().map(|(key, value)| format!("{key}: {}", value.as_str().unwrap())).collect();
                    format!("`{{{}}}`", pairs.join(", "))
                }
                Value::String(text) => format!("`{text}`"),
                other => format!("`{other}`"),
            };
            let _ = writeln!(self.out, "| `{key}` | {kind} | {default} | {meaning} |");
        }
        self.out.push('\n');
    }

    fn all(&mut self) {
        self.table("", self.root);
        let mut next = 0;
        while let Some((path, name)) = self.waiting.get(next).cloned() {
            next += 1;
            let definition = self.definition(&name);
            let text = definition["description"].as_str().unwrap_or_default().replace('\n', " ");
            let _ = writeln!(self.out, "### `{path}`\n\n{text}\n");
            self.table(&path, definition);
            let variants = definition["oneOf"].as_array().or(definition["anyOf"].as_array());
            for variant in variants.into_iter().flatten().filter(|variant| variant["properties"].is_object()) {
                let text = variant["description"].as_str().unwrap_or_default().replace('\n', " ");
                let properties = variant["properties"].as_object().unwrap();
                if let Some(kind) = properties.get("kind").and_then(|kind| kind["const"].as_str()) {
                    let _ = writeln!(self.out, "`kind: {kind}`: {text}\n");
                    if properties.len() > 1 {
                        self.table(&path, variant);
                    }
                } else {
                    let keys: Vec<String> = properties.keys().map(|key| format!("`{{{key}: ...}}`")).collect();
                    let _ = writeln!(self.out, "- {}: {text}", keys.join(", "));
                }
            }
            if !self.out.ends_with("\n\n") {
                self.out.push('\n');
            }
        }
    }
}

fn tables(kind: Kind) -> String {
    let root = schema(kind);
    let mut tables = Tables { root: &root, out: String::new(), waiting: Vec::new(), done: BTreeSet::new() };
    tables.all();
    tables.out
}

#[test]
fn the_reference_lists_every_key_as_it_is() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/inventory.md");
    let old = std::fs::read_to_string(&path).unwrap();
    let mut new = old.clone();
    for kind in Kind::ALL {
        let begin = format!("<!-- generated: {} -->\n", kind.name());
        let (head, rest) = new.split_once(&begin).expect("the marker is there");
        let (_, tail) = rest.split_once("<!-- end -->").expect("the end is there");
        new = format!("{head}{begin}\n{}<!-- end -->{tail}", tables(kind));
    }
    if std::env::var_os("FACTORY_WRITE_DOCS").is_some() {
        std::fs::write(&path, &new).unwrap();
        return;
    }
    for (line, (old, new)) in old.lines().zip(new.lines()).enumerate() {
        assert_eq!(old, new, "docs/inventory.md:{}: write it anew with FACTORY_WRITE_DOCS=1", line + 1);
    }
    assert_eq!(old.len(), new.len(), "docs/inventory.md: write it anew with FACTORY_WRITE_DOCS=1");
}
