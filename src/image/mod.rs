//! The block image engine: read used blocks, chunk, hash, compress, seal, store, restore, verify.
pub mod used;
