//! Where: machines on as few hosts as possible, by memory, processor, network and storage together.
//!
//! ```text
//! machines, hosts --place--> groups merged --pack--> greedy heuristics, the best one improved --> Placement
//!                                                              \--> lower bound    \--> why a machine did not fit
//! ```
//!
//! This is vector bin packing, which is NP-hard; there is no approximation scheme even for two resources (Woeginger,
//! *There is no asymptotic PTAS for two-dimensional vector packing*, IPL 64, 1997). What is done here:
//!
//! 1. Several greedy heuristics: first fit decreasing, and the two that fill host after host with the machine that
//!    suits what is left of it, by dot product and by Euclidean distance (Panigrahy, Talwar, Uyeda and Wieder,
//!    *Heuristics for Vector Bin Packing*, Microsoft Research, 2011); on small inputs also the one that searches the
//!    fullest host each time (minimum bin slack; Gupta and Ho, 1999, Fleszar and Hindi, 2002). The best result is kept.
//! 2. An improvement: a sparse host and a few others are emptied and packed again in another order (a large
//!    neighbourhood search after Shaw, CP 1998); what is not worse is kept. The amount of work is fixed, not the time,
//!    and its dice are seeded: the same input gives the same placement, on every machine.
//!
//! Waves are packed one after another: what an earlier one placed stays, later ones fill up the hosts in use first.
//!
//! Bound: with `d` resources, equal hosts and no constraints, first fit decreasing needs at most `d + 1/3` times the
//! best number of hosts, asymptotically (Garey, Graham, Johnson and Yao, *Resource constrained scheduling as
//! generalized bin packing*, JCT A 21, 1976), and any packing in which no two hosts could be merged at most `d + 1`
//! times (Kou and Markowsky, *Multidimensional bin packing algorithms*, IBM J. Res. Dev. 21, 1977). As the best of
//! several is kept, the first bound holds. In practice it is a few percent; every result says how many hosts are
//! needed at least ([`hosts_needed`]; benchmarks also by [`hosts_needed_by_patterns`]).

mod bound;
mod explain;
mod greedy;
mod improve;
mod patterns;
mod place;
mod proposal;
mod resources;
mod slack;
mod vectors;

pub use bound::hosts_needed;
pub use explain::{HostReason, NoPlace, Shortage};
pub use patterns::hosts_needed_by_patterns;
pub use place::{PlacedWave, Placement, PlacementHost, PlacementMachine, place};
pub use proposal::{Proposal, Turns, propose};
pub use resources::{Resource, Resources};
pub use vectors::{Packing, pack};
