//! YAML text -> nodes that remember their style and place. What a scalar *means* is decided by who reads it:
//! hosts and variables by the YAML 1.1 rules of Ansible, our own files by the type that is wanted.

mod load;
mod node;

pub use load::{MAX_FILE_BYTES, parse, read};
pub use node::{Entry, Node, Value};
