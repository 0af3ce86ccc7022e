//! `replant assess`: sizing, host rules, explanations; and placement against the literature.

mod html;
mod instances;
mod placement;
mod verb;
mod write;
