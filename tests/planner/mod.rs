//! The graph, its order, its keys, and what the preview says.
