//! `replant` moves whole machines, physical or virtual, into virtual machines, from plan files.
//!
//! ```text
//! plans/*.yaml --plan--> Plan --inventory--> ResolvedPlan --assess--> every limit checked
//!     --planner--> TaskGraph --render--> artifacts (scripts + XML) --freeze--> run folder
//!     --execute--> journal --replay--> status | resume | rollback
//! ```
//!
//! Each arrow is one function from one type to the next. Everything left of *freeze* is pure: no
//! clock, no network, no side effect. After it, `apply` reads the frozen run only.
//!
//! The modules stand in the order of the data flow; those of the second block lie beneath and know
//! no stage.

pub mod plan;

pub mod inventory;

pub mod assess;

pub mod planner;

pub mod render;

pub mod freeze;

pub mod execute;

pub mod netboot;

pub mod controller;

pub mod live;

pub mod agent;

pub mod power;

pub mod cli;

pub mod provider;

pub mod sequence;

pub mod journal;

pub mod image;

pub mod device;

pub mod guest;

pub mod progress;

pub mod diagnostic;

pub mod address;

pub mod hardware;

pub mod units;

pub mod vm;

pub mod patch;
