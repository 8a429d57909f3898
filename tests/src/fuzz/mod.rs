//! The bodies of the fuzz targets in `fuzz/`: each gives arbitrary bytes to one parser and uses
//! what it accepts. Where a checksum guards the bytes, a body tries them as they are and again
//! under a checksum that fits, so that a fuzzer gets past it. A body panics where the engine may
//! not: it has no other outcome.

mod parsers;
mod store;

use crate::sim::rng::Rng;

/// A fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Also of its file in `fuzz/fuzz_targets/` and its folder in `fuzz/seeds/`.
    pub name: &'static str,
    /// Its body.
    pub run: fn(&[u8]),
}

/// All targets: one for each kind of bytes from outside, and a whole store of forged objects.
pub const TARGETS: [Target; 16] = [
    Target { name: "compactor", run: parsers::compactor },
    Target { name: "dump", run: parsers::dump },
    Target { name: "extent", run: parsers::extent },
    Target { name: "footer", run: parsers::footer },
    Target { name: "handle", run: parsers::handle },
    Target { name: "http", run: parsers::http },
    Target { name: "job", run: parsers::job },
    Target { name: "manifest", run: parsers::manifest },
    Target { name: "region", run: parsers::region },
    Target { name: "root", run: parsers::root },
    Target { name: "states", run: parsers::states },
    Target { name: "store", run: store::store },
    Target { name: "table", run: parsers::table },
    Target { name: "unit", run: parsers::unit },
    Target { name: "url", run: parsers::url },
    Target { name: "values", run: parsers::values },
];

/// Runs the target of this name.
///
/// # Panics
/// If there is none, or it found something.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.expect("a target of this name").run)(data);
}

/// Changes some of a seed's bytes, as a fuzzer without feedback would.
pub fn mutate(bytes: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..rng.between(1, 4) {
        if bytes.is_empty() {
            bytes.push(rng.next_u64() as u8);
        }
        let at = rng.below(bytes.len());
        match rng.below(6) {
            0 => bytes[at] ^= 1 << rng.below(8),
            1 => bytes[at] = rng.pick(&[0, 1, 0x7f, 0x80, 0xfe, 0xff]),
            2 => bytes.truncate(at),
            3 => bytes.insert(at, rng.next_u64() as u8),
            4 => {
                // A number that is too large, or a little off.
                let number = rng.pick(&[0, u32::MAX, 1 << 31, 1, bytes.len() as u32]);
                let end = bytes.len().min(at + 4);
                bytes[at..end].copy_from_slice(&number.to_le_bytes()[..end - at]);
            }
            _ => {
                let from = rng.below(bytes.len());
                let piece = bytes[from..bytes.len().min(from + rng.between(1, 32))].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
}
