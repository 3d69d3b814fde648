#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gastown_fuzz::targets::attached(data));
