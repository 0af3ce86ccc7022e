//! What must hold, as data: rules in CEL from `providers/common/rules.yaml`, the provider's own and the plan's, asked
//! of every machine and host in one run.
//!
//! ```text
//! Plan + facts --context--> values --evaluate (compiled rules, side by side)--> Findings --> diagnostics, reports
//! ```
//!
//! A rule holds, is violated, does not apply, or cannot be checked because a fact is unknown: the last is reported as
//! that, never as a pass. Expressions are bounded in length, depth and cost, so that no rule of a plan can stall a
//! run. The only module that names the CEL library.

mod check;
mod cost;
mod document;
mod evaluate;
mod expression;
mod findings;
mod functions;
mod hosts;
mod ids;
mod set;
mod template;
mod values;

pub use check::{Checked, Coverage, NotAsked, check};
pub use document::known_facts;
pub use expression::{Expression, ExpressionError, MAX_LENGTH};
pub use findings::{Findings, Silenced, Subject, Unknown, Violation};
pub use functions::OWN as FUNCTIONS;
pub use set::{Origin, Rule, RuleSet};
pub use template::Template;
