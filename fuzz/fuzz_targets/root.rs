#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| aquifer_tests::fuzz::run("root", data));
