use std::path::PathBuf;

use pprof::Symbol;

use super::with_module;

fn named(name: &str, file: &str) -> Option<String> {
    let filename = Some(PathBuf::from(file));
    let name = Some(name.as_bytes().to_vec());
    with_module(&Symbol { name, addr: None, lineno: None, filename })
}

#[test]
fn functions_get_the_modules_of_their_files() {
    let cases = [
        ("poll", "/a/src/b/engine/src/shard/session.rs", "aquifer::shard::session::poll"),
        ("poll", "engine/src/shard/mod.rs", "aquifer::shard::poll"),
        ("run<a::B>", "/x/tools/src/lib.rs", "aquifer_tools::run<a::B>"),
        ("push", "/rustc/0/library/alloc/src/vec/mod.rs", "alloc::vec::push"),
        ("turn", "/c/glommio-0.1.2/src/sys/uring.rs", "glommio-0.1.2::sys::uring::turn"),
    ];
    for (name, file, want) in cases {
        assert_eq!(named(name, file).as_deref(), Some(want), "{file}");
    }
}

#[test]
fn names_with_modules_and_without_files_stay() {
    assert_eq!(named("std::time::now", "/rustc/0/library/std/src/time.rs"), None);
    assert_eq!(named("<std::time::Instant>::now", "/rustc/0/library/std/src/time.rs"), None);
    assert_eq!(named("__GI___clock_gettime", "clock_gettime.c"), None);
    assert_eq!(with_module(&Symbol { name: None, addr: None, lineno: None, filename: None }), None);
}
