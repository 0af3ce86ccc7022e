//! The guest step: the controller's doors, the agent that is built and booted, and what it changes on real formats.

mod agent;
mod controller;
mod matrix;
mod overlay;
