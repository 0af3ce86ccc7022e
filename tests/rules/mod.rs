//! Rules: each is tripped by one plan and not by another; silences, unknown facts, reports, arbitrary input.

mod bench_shape;
mod case;
mod docs;
mod hostile;
mod table;
mod verb;
