use crate::codec::hash::hash64;
use crate::codec::reader::Reader;
use crate::sst::fences::Fences;
use crate::sst::fences_builder::FencesBuilder;
use crate::sst::fences_codec;
use crate::sst::testing::{Random, SHAPES, Shape, keys, stored_key};
use crate::types::Locality;

struct Model {
    fences: Fences,
    /// Keys of each unit.
    units: Vec<Vec<Vec<u8>>>,
    offsets: Vec<u64>,
}

// Units of up to `rows` keys; pages in a row, or with gaps now and then.
fn model(keys: &[Vec<u8>], rows: usize, regular: bool, random: &mut Random) -> Model {
    let mut builder = FencesBuilder::default();
    let (mut units, mut offsets) = (Vec::new(), Vec::new());
    let (mut at, mut rest, mut last, mut end) = (0_u64, keys, &[][..], 0);
    while !rest.is_empty() {
        let (unit, behind) = rest.split_at((1 + random.below(rows)).min(rest.len()));
        let begins = units.len() % 300 == 299;
        builder.unit(last, &unit[0], begins);
        builder.place(at);
        offsets.push(at);
        end = at + 4096;
        at = if regular || random.below(100) > 0 { end } else { at + 4096 * 3 };
        if !regular && random.below(100) == 0 {
            at += 64;
        }
        last = unit.last().expect("not empty");
        units.push(unit.to_vec());
        rest = behind;
    }
    let fences = builder.finish(last, end.next_multiple_of(4096));
    let mut bytes = Vec::new();
    fences_codec::put(&mut bytes, &fences);
    let mut reader = Reader::new(&bytes);
    let again = fences_codec::decode(&mut reader).expect("just written");
    assert_eq!((&again, reader.remaining()), (&fences, 0));
    Model { fences: again, units, offsets }
}

fn locate(fences: &Fences, key: &[u8]) -> usize {
    fences.unit_at(key) as usize
}

impl Model {
    fn check(&self, key: &[u8], what: &str) {
        let smallest = &self.units[0][0];
        let largest = self.units.last().and_then(|u| u.last()).expect("not empty");
        if key < smallest.as_slice() || key > largest.as_slice() {
            return;
        }
        let found = locate(&self.fences, key);
        let expected = self.units.partition_point(|u| u[0].as_slice() <= key) - 1;
        let behind_last = self.units[expected].last().is_some_and(|l| l.as_slice() < key);
        // Between two units a separator may fall on either side.
        assert!(
            found == expected || behind_last && found == expected + 1,
            "{what}: {key:?} in unit {found}, expected {expected}"
        );
    }
}

#[test]
fn every_key_of_every_shape_is_located() {
    for (i, shape) in SHAPES.into_iter().enumerate() {
        for (rows, regular) in [(1, true), (3, false), (20, true)] {
            let random = &mut Random(40 + i as u64);
            let all = keys(shape, 8000, random);
            let model = model(&all, rows, regular, random);
            all.iter().for_each(|key| model.check(key, "present"));
            keys(shape, 4000, random).iter().for_each(|key| model.check(key, "of the shape"));
            for key in &all {
                let mut near = key.clone();
                let at = random.below(near.len());
                near[at] = near[at].wrapping_add(1 + (random.next() % 255) as u8);
                model.check(&near, "near");
                near.truncate(random.below(near.len() + 1));
                model.check(&near, "a prefix");
                near.extend_from_slice(&[0, 0, 0][..random.below(4)]);
                model.check(&near, "padded");
                model.check(&[key.as_slice(), &[0]].concat(), "the next");
            }
        }
    }
}

#[test]
fn units_lie_where_they_were_placed() {
    let random = &mut Random(2);
    let all = keys(Shape::Random, 5000, random);
    for regular in [true, false] {
        let model = model(&all, 2, regular, random);
        assert_eq!(model.fences.units() as usize, model.offsets.len());
        assert_eq!(model.fences.granules.is_empty(), regular);
        for (i, &offset) in model.offsets.iter().enumerate() {
            let extent = model.fences.extent(i as u32).expect("a unit");
            assert_eq!((extent.offset, extent.len), (offset, 4096));
        }
        let end = model.offsets.len() as u32;
        assert_eq!(model.fences.extent(end), None);
        assert_eq!(model.fences.extent(u32::MAX), None);
        assert_eq!(model.fences.offset(end), model.fences.data_end);
    }
}

#[test]
fn regular_keys_cost_next_to_nothing_beyond_the_heads() {
    let random = &mut Random(3);
    let uniform = keys(Shape::Random, 120_000, random);
    // As many units a key group as 20 M rows under 128 key groups have.
    let id = |i: u64| stored_key((i / 36_000) as u16, Locality::Small, &i.to_be_bytes(), b"");
    let sequential: Vec<Vec<u8>> = (0..120_000).map(id).collect();
    for all in [uniform, sequential] {
        let fences = model(&all, 11, true, random).fences;
        let each = fences.memory_bytes() as f64 / f64::from(fences.units());
        // Nine megabytes for 20 M rows, 26 a unit, are 11.7 bytes a unit.
        assert!(each < 9.5, "{each} bytes a unit");
    }
}

#[test]
fn ids_in_sequence_need_no_full_separators() {
    let random = &mut Random(4);
    let kinds: [fn(u64) -> Vec<u8>; 3] = [
        |i| i.to_be_bytes().to_vec(),
        |i| format!("user{i:08}").into_bytes(),
        |i| format!("user{i}").into_bytes(),
    ];
    // Key groups of many units, of about a hundred, and of less than one.
    for groups in [4, 128, 1 << 15] {
        for id in kinds {
            let mut all: Vec<Vec<u8>> = (0..330_000)
                .map(|i| {
                    let group = ((hash64(&id(i)) >> 32) * groups) >> 32;
                    stored_key(group as u16, Locality::Small, &id(i), b"")
                })
                .collect();
            all.sort();
            let model = model(&all, 55, true, random);
            all.iter().step_by(7).for_each(|key| model.check(key, "present"));
            let fences = model.fences;
            let lists = [&fences.units, &fences.groups, &fences.root];
            let full: usize = lists.iter().map(|level| level.full_at.len()).sum();
            let share = full as f64 / f64::from(fences.units());
            assert!(share < 0.03, "{share} full separators a unit in {groups} key groups");
            assert!(fences.gaps.len() * 20 < fences.group_nodes.len() + 200, "gaps are shared");
        }
    }
}
