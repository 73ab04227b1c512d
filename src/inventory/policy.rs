//! The numbers of the pressure ladder.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The numbers of the pressure ladder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {}
