//! The algebra of holds, and what hosts are told, against a model.
