//! The verbs as people call them, over a whole migration that boots nothing.

mod flow;
mod migrated;
mod site;
