//! The target that `REPLANT_FUZZ_TARGET` names: one program to build instead of one per target.
#![no_main]

use std::sync::LazyLock;

use replant::{controller, image};

static TARGET: LazyLock<String> = LazyLock::new(|| {
    std::env::var("REPLANT_FUZZ_TARGET").expect("REPLANT_FUZZ_TARGET names a target, such as `ext`")
});
static OF_IMAGES: LazyLock<bool> = LazyLock::new(|| image::fuzzing::names().contains(&TARGET.as_str()));

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| match *OF_IMAGES {
    true => image::fuzzing::run(&TARGET, bytes),
    false => controller::fuzzing::run(&TARGET, bytes),
});
