//! What is asked: plan files in YAML become a [`Plan`], every value with its span.
//!
//! Never touches a machine: the only files it opens are the plan's own.

mod model;

pub use model::*;
