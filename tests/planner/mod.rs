//! The graph, its order, its keys, what is selected, and what the preview says.

mod graph;
mod preview;
mod run_folder;
