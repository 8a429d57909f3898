//! Campaigns of damage: whatever becomes of a checkpoint's objects, every answer is the right one
//! or an error. A real engine answers, from objects in memory.
//!
//! `AQUIFER_FLIPS=n` flips n bits of tables instead of `FLIPS`, `AQUIFER_SWAPS=n` swaps n pieces;
//! `AQUIFER_SEED` is the first number drawn from.

use std::time::Instant;

use aquifer::limits::{PAGE_BYTES, SST_GRANULE_BYTES};
use aquifer::sst::meta::TableRef;
use aquifer::types::error::ErrorKind;
use aquifer_tests::sim::rng::Rng;
use aquifer_tests::victim::{Object, Shape, Told, Victim};

/// Bits that an ordinary run flips.
const FLIPS: usize = 20_000;
/// Pieces that an ordinary run swaps.
const SWAPS: usize = 3_000;

/// A few units in two tables, values in pages of their own among them.
const SMALL: Shape = Shape { keys: 24, entries: 24, random: true, tables: 2 };

fn number(variable: &str) -> Option<usize> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// What was tried, and how it ended.
#[derive(Debug, Default)]
struct Tally {
    trials: usize,
    refused: usize,
    noticed: usize,
    unharmed: usize,
}

impl Tally {
    fn count(&mut self, told: &Result<Told, aquifer::types::Error>) {
        self.trials += 1;
        match told {
            Err(error) => {
                assert_ne!(error.kind, ErrorKind::Io, "{error}");
                self.refused += 1;
            }
            Ok(told) if told.failed > 0 => self.noticed += 1,
            Ok(_) => self.unharmed += 1,
        }
    }
}

#[test]
fn a_checkpoint_that_is_whole_answers_everything() {
    for random in [true, false] {
        let mut victim = Victim::new("whole", Shape { random, ..SMALL });
        let told = victim.restored(&victim.handle.clone()).unwrap();
        assert_eq!(told.failed, 0);
        assert!(told.right > 100);
    }
}

#[test]
fn every_bit_and_every_truncation_of_a_manifest_is_noticed() {
    let mut victim = Victim::new("manifests", SMALL);
    let whole = victim.manifest.clone();
    let mut refused = |bytes: Vec<u8>, what: String| {
        let error = victim.damaged(&whole, Some(bytes)).expect_err(&what);
        assert_eq!(error.kind, ErrorKind::Corrupt, "{what}: {error}");
    };
    for bit in 0..whole.bytes.len() * 8 {
        let mut bytes = whole.bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        refused(bytes, format!("bit {bit}"));
    }
    for len in 0..whole.bytes.len() {
        refused(whole.bytes[..len].to_vec(), format!("{len} bytes"));
    }
    let longer = victim.damaged(&whole, Some([&whole.bytes[..], &[0]].concat())).unwrap_err();
    assert_eq!(longer.kind, ErrorKind::TooLarge, "{longer}");
    assert_eq!(victim.damaged(&whole, None).unwrap_err().kind, ErrorKind::MissingObject);
}

#[test]
fn every_bit_and_every_truncation_of_a_handle_is_noticed() {
    let mut victim = Victim::new("handles", SMALL);
    let whole = victim.handle.clone();
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(victim.restored(&bytes).unwrap_err().kind, ErrorKind::Corrupt, "bit {bit}");
    }
    for len in 0..whole.len() {
        let cut = victim.restored(&whole[..len]).unwrap_err();
        assert_eq!(cut.kind, ErrorKind::Corrupt, "{len} bytes");
    }
    let longer = victim.restored(&[&whole[..], &[0]].concat()).unwrap_err();
    assert_eq!(longer.kind, ErrorKind::Corrupt);
}

#[test]
fn every_truncation_of_a_table_is_noticed() {
    let mut victim =
        Victim::new("truncations", Shape { keys: 3, entries: 2, random: true, tables: 1 });
    let whole = victim.tables[0].clone();
    println!("{} truncations", whole.bytes.len());
    for len in 0..whole.bytes.len() {
        let told = victim.damaged(&whole, Some(whole.bytes[..len].to_vec())).unwrap();
        assert!(told.failed > 0, "{len} of {} bytes: {told:?}", whole.bytes.len());
    }
}

/// Where the parts of a table begin: units, resident part, footer, and its end.
fn parts(table: &Object) -> [usize; 4] {
    let footer = table.bytes.len() - PAGE_BYTES;
    let found = TableRef::from_footer(table.name, &table.bytes[footer..]).unwrap();
    [0, found.meta_offset as usize, footer, table.bytes.len()]
}

#[test]
fn no_flipped_bit_of_a_table_changes_an_answer() {
    let began = Instant::now();
    let flips = number("AQUIFER_FLIPS").unwrap_or(FLIPS);
    let mut rng = Rng::new(number("AQUIFER_SEED").unwrap_or(1) as u64);
    for random in [true, false] {
        let mut victim = Victim::new("flips", Shape { random, ..SMALL });
        let mut tallies: [Tally; 3] = Default::default();
        for _ in 0..flips / 2 {
            let whole = victim.tables[rng.below(victim.tables.len())].clone();
            let parts = parts(&whole);
            // Two in five each of units and resident part, which has index, filters and bounds.
            let part = rng.pick(&[0, 0, 1, 1, 2]);
            let mut bytes = whole.bytes.clone();
            // A few bits at once now and then: what one CRC catches is not one bit alone.
            for _ in 0..rng.pick(&[1, 1, 1, 2, 7]) {
                bytes[rng.between(parts[part], parts[part + 1] - 1)] ^= 1 << rng.below(8);
            }
            tallies[part].count(&victim.damaged(&whole, Some(bytes)));
        }
        println!("random {random}: units, resident part, footer: {tallies:?}");
        assert!(tallies[0].noticed * 10 > tallies[0].trials, "{tallies:?}");
        assert_eq!(tallies[1].noticed, tallies[1].trials, "{tallies:?}");
        // A manifest names what a footer names: only tools read it.
        assert_eq!(tallies[2].unharmed, tallies[2].trials, "{tallies:?}");
    }
    println!("{flips} flips took {:?}", began.elapsed());
}

#[test]
fn no_zeroed_or_swapped_piece_changes_an_answer() {
    let began = Instant::now();
    let swaps = number("AQUIFER_SWAPS").unwrap_or(SWAPS);
    let mut rng = Rng::new(number("AQUIFER_SEED").unwrap_or(1) as u64);
    for random in [true, false] {
        let mut victim = Victim::new("swaps", Shape { random, ..SMALL });
        let tables = victim.tables.clone();
        let mut tally = Tally::default();
        for whole in &tables {
            for page in 0..whole.bytes.len() / PAGE_BYTES {
                let mut bytes = whole.bytes.clone();
                bytes[page * PAGE_BYTES..][..PAGE_BYTES].fill(0);
                tally.count(&victim.damaged(whole, Some(bytes)));
            }
        }
        for _ in 0..swaps / 2 {
            let (whole, other) = (&tables[rng.below(2)], &tables[rng.below(2)]);
            // Sectors that a disk misplaced, or lz4 units, which lie at granules.
            let piece = rng.pick(&[PAGE_BYTES, PAGE_BYTES, 512, SST_GRANULE_BYTES]);
            let to = rng.below(whole.bytes.len() / piece) * piece;
            // The same place of another table now and then.
            let from = match rng.chance(3000) && to + piece <= other.bytes.len() {
                true => to,
                false => rng.below(other.bytes.len() / piece) * piece,
            };
            let mut bytes = whole.bytes.clone();
            bytes[to..to + piece].copy_from_slice(&other.bytes[from..from + piece]);
            tally.count(&victim.damaged(whole, Some(bytes)));
        }
        println!("random {random}: {tally:?}");
        assert!(tally.noticed * 4 > tally.trials, "{tally:?}");
    }
    println!("{swaps} swaps took {:?}", began.elapsed());
}

#[test]
fn another_object_under_a_name_is_noticed() {
    let mut victim = Victim::new("others", SMALL);
    let (newer, older) = (victim.manifest.clone(), victim.older.clone());
    let [first, second] = &victim.tables.clone()[..] else { panic!("two tables") };
    assert_ne!(newer.bytes, older.bytes);
    let error = victim.damaged(&newer, Some(older.bytes.clone())).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Corrupt, "{error}");
    for (name, bytes) in [(first, second), (second, first), (first, &older)] {
        let told = victim.damaged(name, Some(bytes.bytes.clone())).unwrap();
        assert!(told.failed > 0, "{told:?}");
    }
}
