//! The executor from outside: a fake world of files, real scripts, real signals, real crashes.

mod crash;
mod driver;
mod failure;
mod full;
mod kills;
mod limits;
mod locks;
mod model;
mod signals;
mod verbs;
mod world;
