//! Tests of this stage.
mod used;
