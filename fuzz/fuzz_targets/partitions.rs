#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| replant::image::fuzzing::run("partitions", bytes));
