//! Documents as files: XML by the shipped schema, JSON with the same facts; and what changed between two.

mod diff;
mod file;
mod json;
mod xml;
mod xsd;

pub use diff::{Change, diff};
pub use file::{LoadedDocument, load_document, read_text};
pub use json::{from_json, plain_facts, to_json};
pub use xml::{from_xml, read_xml, to_xml};
pub use xsd::xml_schema;

/// The namespace of inventory documents.
pub const NAMESPACE: &str = "https://replant.invalid/schema/inventory-1";
