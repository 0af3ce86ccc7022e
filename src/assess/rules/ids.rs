//! Ids of rules as codes of diagnostics.

use std::collections::BTreeSet;
use std::sync::{LazyLock, Mutex};

static KNOWN: LazyLock<Mutex<BTreeSet<&'static str>>> = LazyLock::new(Mutex::default);

/// `rule.ID` for as long as the program lives: a code outlives the plan it came from, and there is one per id.
pub(super) fn code(id: &str) -> &'static str {
    let code = format!("rule.{id}");
    let mut known = KNOWN.lock().expect("no thread panics while it holds the lock");
    match known.get(code.as_str()) {
        Some(known) => known,
        None => {
            let kept: &'static str = code.leak();
            known.insert(kept);
            kept
        }
    }
}
