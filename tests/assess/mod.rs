//! `replant assess`: sizing, host rules, explanations; and placement against the literature.

mod instances;
mod placement;
mod verb;
mod write;
