//! YAML text -> nodes that remember their style and place. What a scalar *means* is decided by who reads it:
//! hosts and variables by the YAML 1.1 rules of Ansible, our own files by the type that is wanted.

mod json;
mod load;
mod mask;
mod node;
mod number;
mod timestamp;
pub mod yaml11;

pub use load::{MAX_FILE_BYTES, parse, parse_ansible, read};
pub use mask::{is_secret_name, masked};
pub use node::{Entry, Node, Value};
