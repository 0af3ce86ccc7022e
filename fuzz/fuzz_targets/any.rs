//! The target that `REPLANT_FUZZ_TARGET` names: one program to build instead of one per target.
#![no_main]

use std::sync::LazyLock;

static TARGET: LazyLock<String> = LazyLock::new(|| {
    std::env::var("REPLANT_FUZZ_TARGET").expect("REPLANT_FUZZ_TARGET names a target, such as `ext`")
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| replant::image::fuzzing::run(&TARGET, bytes));
