//! JSON Schemas of our files, generated from the types that read them, so that an editor can complete and check.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::repos::ReposFile;
use super::settings::FactoryFile;
use super::units::Bytes;

/// Which file a schema is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// `factory.yml`.
    Factory,
    /// `repos.yml`.
    Repos,
    /// The variables of ours in `hosts.yml`, `group_vars/` and `host_vars/`.
    HostVars,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 3] = [Kind::Factory, Kind::Repos, Kind::HostVars];

    /// Its name on the command line and in files: `factory`, `repos`, `host-vars`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Factory => "factory",
            Kind::Repos => "repos",
            Kind::HostVars => "host-vars",
        }
    }
}

/// The variables of ours. All others are Ansible's or the user's and are kept as they are.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "host variables")]
pub struct HostVars {
    /// Where runs, locks and halt files live on the host. Default `~/.factory`.
    pub factory_home: Option<String>,
    /// How many agents may run at once. Default: as many as fit.
    pub factory_slots: Option<u32>,
    /// What the host is good for, for agents and repos that ask. Default: none.
    pub factory_labels: Option<Vec<String>>,
    /// Memory that stays free. Default: 5 % of the host's.
    pub factory_reserve: Option<Bytes>,
    /// The paths whose file systems are watched. Default: `/` and the one of `factory_home`.
    pub factory_disks: Option<Vec<String>>,
}

/// The JSON Schema (draft 2020-12) of `kind`.
pub fn schema(kind: Kind) -> Value {
    let generator = || SchemaGenerator::new(SchemaSettings::draft2020_12());
    let schema = match kind {
        Kind::Factory => generator().into_root_schema_for::<FactoryFile>(),
        Kind::Repos => generator().into_root_schema_for::<ReposFile>(),
        Kind::HostVars => generator().into_root_schema_for::<HostVars>(),
    };
    let mut schema = schema.to_value();
    unify(&mut schema);
    if let Some(definitions) = schema.get_mut("$defs").and_then(Value::as_object_mut) {
        shorthand(definitions);
        if kind == Kind::Repos {
            partial(definitions);
        }
    }
    if kind == Kind::Repos
        && let Some(defaults) = schema.pointer_mut("/properties/defaults")
    {
        point(defaults, "#/$defs/Repo", "#/$defs/RepoDefaults");
    }
    schema
}

/// Tidies what the generator wrote: formats that JSON Schema does not know, and `null` where an empty value is the same
/// as none.
fn unify(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.remove("format");
            if map.get("default").is_some_and(Value::is_null) {
                map.remove("default");
            }
            if let Some(Value::Object(properties)) = map.get_mut("properties") {
                properties.values_mut().for_each(property);
            }
            map.values_mut().for_each(unify);
        }
        Value::Array(items) => items.iter_mut().for_each(unify),
        _ => {}
    }
}

/// Collections may be left empty (`agents:`), unless they must hold something; text and numbers may not. The default
/// of a type with a `kind` is written as people write it.
fn property(property: &mut Value) {
    let Some(map) = property.as_object_mut() else { return };
    let collection = matches!(map.get("type"), Some(Value::String(name)) if name == "object" || name == "array");
    if collection && !map.contains_key("minItems") {
        let name = map.get("type").cloned().unwrap_or_default();
        map.insert("type".to_owned(), Value::Array(vec![name, Value::from("null")]));
    }
    let tagged =
        map.get("$ref").and_then(Value::as_str).is_some_and(|name| TAGGED.iter().any(|tag| name.ends_with(tag)));
    if tagged {
        if let Some(Value::Object(default)) = map.get_mut("default")
            && let Some((kind, Value::Object(keys))) = default.iter().next()
        {
            let mut written = Map::from_iter([("kind".to_owned(), Value::from(kind.as_str()))]);
            written.extend(keys.clone());
            *default = written;
        }
    } else if matches!(map.get("default"), Some(Value::Object(_)))
        && let Some(reference) = map.shift_remove("$ref")
    {
        map.insert("anyOf".to_owned(), serde_json::json!([{ "$ref": reference }, { "type": "null" }]));
    }
}

/// The types that are told apart by a `kind`.
const TAGGED: [&str; 3] = ["/Ledger", "/Forge", "/Ci"];

/// A word stands for a mapping with that `kind` alone: `ci: none`, `ledger: sqlite`.
fn shorthand(definitions: &mut Map<String, Value>) {
    for definition in definitions.values_mut() {
        let Some(variants) = definition.get("oneOf").and_then(Value::as_array) else { continue };
        let words: Vec<Value> = variants
            .iter()
            .filter(|variant| {
                let required = variant.get("required").and_then(Value::as_array);
                required.is_some_and(|keys| keys.len() == 1 && keys.first().is_some_and(|key| key == "kind"))
            })
            .filter_map(|variant| variant.pointer("/properties/kind/const").cloned())
            .collect();
        if !words.is_empty()
            && let Some(variants) = definition.get_mut("oneOf").and_then(Value::as_array_mut)
        {
            variants.push(serde_json::json!({"description": "The same as a `kind` alone.", "enum": words}));
        }
    }
}

/// A repo and the defaults complete each other, so neither needs every key of `ci` and `forge`, and the defaults have
/// no slug.
fn partial(definitions: &mut Map<String, Value>) {
    for name in ["Ci", "Forge"] {
        if let Some(map) = definitions.get_mut(name).and_then(Value::as_object_mut)
            && let Some(mut variants) = map.remove("oneOf")
        {
            for variant in variants.as_array_mut().into_iter().flatten() {
                variant.as_object_mut().map(|variant| variant.remove("required"));
            }
            map.insert("anyOf".to_owned(), variants);
        }
    }
    let Some(mut defaults) = definitions.get("Repo").cloned() else { return };
    if let Some(map) = defaults.as_object_mut() {
        map.remove("required");
        if let Some(properties) = map.get_mut("properties").and_then(Value::as_object_mut) {
            properties.shift_remove("slug");
        }
    }
    definitions.insert("RepoDefaults".to_owned(), defaults);
}

/// Replaces one reference by another.
fn point(value: &mut Value, from: &str, to: &str) {
    match value {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                if key == "$ref" && value == from {
                    *value = Value::from(to);
                } else {
                    point(value, from, to);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| point(item, from, to)),
        _ => {}
    }
}
