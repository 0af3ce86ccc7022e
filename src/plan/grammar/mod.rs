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
mod schema;
mod shape;
mod table;
mod text;

pub(super) use check::check;
pub use schema::json_schema;
