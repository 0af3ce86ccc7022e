//! Black-box and stage tests, one module per folder.

#![expect(clippy::print_stdout, reason = "long tests print what they measure")]

mod architecture;
mod assess;
mod cli;
mod common;
mod end_to_end;
mod guest;
mod image;
mod inventory;
mod netboot;
mod p2v;
mod plan;
mod planner;
mod remote;
mod render;
mod rules;
mod run;
mod sequence;
mod windows;
