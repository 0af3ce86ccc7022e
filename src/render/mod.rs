//! How it is said: a resolved plan and a provider's templates become artifacts, the scripts and XML task sequences.
//!
//! Rendering is pure: the same plan and the same templates give the same bytes. Every value is escaped for the
//! language of the template's extension, so that no name or text of a plan can become code. The only module that
//! names handlebars; it runs nothing.

mod artifact;
mod context;
mod engine;
mod escape;
mod values;

pub use artifact::{ArtifactRecord, ArtifactSet, NoSink, Sink, render};
pub use engine::{Engine, RenderError, Values};
pub use escape::Language;
