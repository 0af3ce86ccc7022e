//! Arbitrary input: an expression is compiled or refused, never a crash, never a stall.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use replant::assess::rules::{Expression, ExpressionError, MAX_LENGTH, Template};

/// Pieces that expressions are made of, so that many of them are nearly right.
const PIECES: [&str; 28] = [
    "machine",
    ".",
    "name",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "!",
    "-",
    "&&",
    "||",
    "==",
    "in",
    "'x'",
    "1",
    "1.5",
    "?",
    ":",
    "size(",
    "machine.disks",
    ".exists(d, ",
    ".map(d, ",
    ".filter(d, ",
    "has(",
    ",",
    " ",
];

#[test]
fn what_is_too_much_is_refused_by_name() {
    let deep = format!("{}true{}", "(".repeat(500), ")".repeat(500));
    let nots = format!("{}true", "!".repeat(900));
    let long = format!("'{}' == ''", "x".repeat(MAX_LENGTH));
    let loops = "machine.disks.exists(a, machine.disks.exists(b, machine.disks.exists(c, a == c)))";
    let chain = "machine.disks.map(a, 'x').map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a) == []";
    let many = format!("{}true", "true && ".repeat(220));
    for (text, costly) in [(&deep, true), (&nots, true), (&long, false), (&loops.into(), true), (&chain.into(), true)] {
        let error = Expression::compile(text).unwrap_err();
        assert_eq!(matches!(error, ExpressionError::TooCostly { .. }), costly, "{error}");
    }
    assert!(Expression::compile(&many).is_err());
    for (text, name) in [("nobody.name == ''", "nobody"), ("machine.disks.all(d, e)", "e")] {
        assert_eq!(Expression::compile(text).unwrap_err(), ExpressionError::UnknownName { name: name.into() });
    }
    assert!(matches!(Expression::compile("matches('a', 'b')"), Err(ExpressionError::UnknownFunction { .. })));
    for text in ["{machine.name", "machine.name}", "{", "{}", "{{{", "{1 +}"] {
        assert!(Template::compile(text).is_err(), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if std::env::var_os("REPLANT_TEST_LONG").is_some() { 20_000 } else { 400 }))]

    #[test]
    fn any_text_is_compiled_or_refused(text in any::<String>()) {
        let began = Instant::now();
        let _ = Expression::compile(&text);
        let _ = Template::compile(&text);
        prop_assert!(began.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn any_pieces_are_compiled_or_refused(pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..60)) {
        let text = pieces.concat();
        let began = Instant::now();
        let _ = Expression::compile(&text);
        let _ = Template::compile(&format!("{{{text}}}"));
        prop_assert!(began.elapsed() < Duration::from_secs(20));
    }
}
