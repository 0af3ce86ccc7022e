//! What is asked: plan files in YAML become a [`Plan`], every value with its span.
//!
//! ```text
//! files --read, include--> documents --grammar--> checked shapes --lower--> Plan
//! ```
//!
//! Every problem of every file is reported in one run. Never touches a machine: the only files it opens are the
//! plan's own.

mod boot;
mod capacity;
mod document;
mod edit;
mod files;
mod grammar;
mod lower;
mod model;
mod name;
mod source;
mod target;

pub use boot::*;
pub use capacity::*;
pub use edit::{EditedFile, TargetEdit, edit_targets};
pub use files::{document_as_json, load};
pub use grammar::json_schema;
pub use model::*;
pub use name::*;
pub use source::*;
pub use target::*;
