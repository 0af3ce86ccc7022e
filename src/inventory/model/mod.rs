//! The facts of a machine, in six groups and what it uses; each with the observation it comes from.
//!
//! A fact is declared once, in `facts/`; XML, JSON, the XML schema, merging and comparing follow from there.

mod document;
mod fact;
mod facts;
mod section;
mod value;

pub use document::Document;
pub use fact::{Fact, Method, Observation, text};
pub use facts::*;
pub use section::{Branch, Content, Field, Flaw, Kind, Section, Shape, read_section};
pub use value::{Form, Word};
