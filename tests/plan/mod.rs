//! Tests of this stage.

mod files;
mod init;
mod invalid;
mod lowering;
mod observe;
mod ready_made;
mod reference;
mod robust;
mod scale;
mod schema;
