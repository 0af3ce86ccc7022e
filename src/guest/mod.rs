//! The operating system inside a restored disk: detect, plan the edits, apply them.
