//! The plan language as one table: which keys there are, what each takes and what it means.
//!
//! ```text
//!            +--> check   every value of a document against the table, every problem at once
//!   table ---+
//!            +--> schema  JSON Schema (2020-12) for editors
//! ```
//!
//! What one value alone cannot tell (dangling references, cycles, duplicates across files) is left to `lower`.

mod boot;
mod capacity;
mod check;
mod facts;
mod normal;
mod schema;
mod shape;
mod source;
mod table;
mod target;
mod text;

pub(super) use check::check;
pub(super) use normal::{facts, host_facts};
pub use schema::json_schema;
