//! How the shared library is linked.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // The number is that of the oldest interface the library serves.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libaquifer.so.1");
    // Its threads and thread-local values must not outlive its code.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // What packages export for C is theirs, not the interface.
    println!("cargo:rustc-cdylib-link-arg=-Wl,--exclude-libs,ALL");
}
