//! Black-box and stage tests, one module per folder.

mod architecture;
mod assess;
mod cli;
mod common;
mod end_to_end;
mod guest;
mod image;
mod inventory;
mod netboot;
mod plan;
mod planner;
mod render;
mod run;
mod sequence;
