#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| replant::controller::fuzzing::run("capture-open", bytes));
