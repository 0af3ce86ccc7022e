//! Large plans: linear, and no recursion anywhere.

use std::fmt::Write as _;

use super::files::{Scratch, rendered};

/// A chain of machines, each after the one before; `closing` makes the first wait for the last.
fn chain(machines: usize, closing: bool) -> String {
    let mut text = String::from(
        "replant: 1\nname: t\nhosts: { h: { provider: qemu } }\ndefaults: { target: { host: h } }\nmachines:\n",
    );
    for n in 0..machines {
        let after = match (n, closing) {
            (0, false) => String::new(),
            (0, true) => format!(", after: [m{}]", machines - 1),
            _ => format!(", after: [m{}]", n - 1),
        };
        writeln!(text, "  - {{ name: m{n}, source: {{ disks: [{{ path: m{n}.raw }}] }}{after} }}").unwrap();
    }
    text
}

#[test]
fn a_chain_of_twenty_thousand_machines_is_a_plan() {
    // A small stack: whatever recursed along the chain would overflow it.
    let plan = std::thread::Builder::new().stack_size(512 << 10).spawn(|| {
        let plan = Scratch::new(&chain(20_000, false)).plan();
        plan.machines.len()
    });
    assert_eq!(plan.unwrap().join().unwrap(), 20_000);
}

#[test]
fn a_cycle_of_ten_thousand_machines_is_one_message() {
    let found = Scratch::new(&chain(10_000, true)).refused();
    assert_eq!(found.len(), 1);
    let cycle = found.iter().next().unwrap();
    assert_eq!((cycle.code, cycle.labels.len()), ("plan.after-cycle", 10_000), "every edge is known");
    let drawn = rendered(&found);
    assert!(drawn.contains("and 9960 places more"), "{drawn}");
}

#[test]
fn a_thousand_mistakes_are_a_thousand_messages() {
    let text = chain(1_000, false).replace("name: m", "nam: m");
    let found = Scratch::new(&text).refused();
    assert_eq!(found.iter().filter(|one| one.code == "plan.unknown-key").count(), 1_000);
    assert!(rendered(&found).contains("did you mean `name`?"));
}

#[test]
fn spans_are_small() {
    assert_eq!(size_of::<replant::diagnostic::Span>(), 3 * size_of::<usize>());
}
