//! Mistakes in what people wrote: where, what, and the way out, for terminals and for programs.
//!
//! A stage collects every mistake it can find in [`Diagnostics`]; only `cli` shows them, with [`Renderer`] or as
//! [`DiagnosticRecord`].

mod collector;
mod json;
mod lines;
mod message;
mod render;
mod source;
mod suggest;

pub use collector::Diagnostics;
pub use json::{DiagnosticRecord, PlaceRecord};
pub use lines::{LineIndex, LineIndexes, Position};
pub use message::{Diagnostic, Label, Severity};
pub use render::Renderer;
pub use source::{SourceText, Span, Spanned};
pub use suggest::closest;
