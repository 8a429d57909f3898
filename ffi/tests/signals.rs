//! The library leaves the signals of its host alone. A process of its own, so that nothing else
//! changes them.

use aquifer_ffi::{aqf_engine_close, aqf_engine_open};

/// Which signals are ignored and caught, but for those that the C library takes for its threads.
fn masks() -> [u64; 2] {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    ["SigIgn:", "SigCgt:"].map(|name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap() & 0x7fff_ffff
    })
}

#[test]
fn no_signal_is_caught_or_ignored_by_the_library() {
    let before = masks();
    let options = "dfs = memory://signals\nmemory = 48M";
    let mut engine = 0;
    // SAFETY: the text and the place are live.
    let opened =
        unsafe { aqf_engine_open(options.as_ptr().cast(), options.len(), &raw mut engine) };
    assert_eq!(opened, 0);
    assert_eq!(masks(), before);
    assert_eq!(aqf_engine_close(engine, 10_000), 0);
    assert_eq!(masks(), before);
}
