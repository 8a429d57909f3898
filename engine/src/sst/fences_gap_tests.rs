use crate::limits::{FENCE_GAP_BYTES_MAX, FENCE_GAP_SAVES_MIN};
use crate::sst::fences_gap::{Gap, head_decides};
use crate::sst::testing::Random;

// Short strings over few letters: all ways to leave a gap.
fn rests(count: usize, random: &mut Random) -> Vec<Vec<u8>> {
    let letters = [0, 0, 1, 0xff];
    let word =
        |random: &mut Random| (0..random.below(12)).map(|_| letters[random.below(4)]).collect();
    let mut out: Vec<Vec<u8>> = (0..count).map(|_| word(random)).collect();
    out.sort();
    out.dedup();
    out
}

#[test]
fn a_greater_key_never_has_a_smaller_head() {
    let random = &mut Random(1);
    let all = rests(20_000, random);
    for at in 0..8 {
        for gap in [&[0][..], &[0, 0], &[1, 0], &[0, 0xff], &[0xff, 0xff], &[1, 1, 1]] {
            let gap = Gap::new(at, gap).expect("a gap");
            assert!(all.is_sorted_by_key(|rest| gap.head(rest)), "{gap:?}");
        }
    }
}

#[test]
fn a_head_that_decides_proves_the_order() {
    let random = &mut Random(2);
    let all = rests(600, random);
    for at in 0..8 {
        for gap in [&[0, 0][..], &[1, 0], &[0xff]] {
            let gap = Gap::new(at, gap).expect("a gap");
            for separator in all.iter().filter(|rest| head_decides(Some(&gap), rest)) {
                let head = gap.head(separator);
                let mut equal = all.iter().filter(|rest| gap.head(rest) == head);
                assert!(equal.all(|rest| rest >= separator), "{gap:?} {separator:?}");
            }
        }
    }
}

fn chosen(rests: &[Vec<u8>]) -> Option<Gap> {
    Gap::choose(rests.iter().map(Vec::as_slice), FENCE_GAP_SAVES_MIN)
}

#[test]
fn what_all_have_in_the_middle_becomes_the_gap() {
    let ids = |begin: &[u8], gap: &[u8]| -> Vec<Vec<u8>> {
        let ends = (1..30_u8).map(|end| [begin, gap, &[end, 7]].concat());
        ends.collect()
    };
    let middle = b"the same in all of them";
    let two_groups = [ids(&[4, 1], middle), vec![vec![5]], ids(&[5, 1], middle)].concat();
    assert_eq!(chosen(&two_groups), Gap::new(1, &[&[1][..], middle].concat()));
    let one_group = ids(&[5, 1], middle);
    assert_eq!(chosen(&one_group), Gap::new(0, &[&[5, 1][..], middle].concat()));
    // Of two the one that leaves the rest in the heads.
    let lengths = [ids(b"\x04\x01\x08", middle), ids(b"\x04\x01\x09", middle)].concat();
    assert_eq!(chosen(&lengths), Gap::new(3, middle));
}

#[test]
fn a_gap_that_saves_little_is_none() {
    let short: Vec<Vec<u8>> = (1..60).map(|end| vec![4, 1, 1, 1, end]).collect();
    assert_eq!(chosen(&short), None);
    let long = |count: u8| -> Vec<Vec<u8>> {
        (1..=count).map(|end| [&[4; 20][..], &[end]].concat()).collect()
    };
    assert_eq!(chosen(&long(3)), None);
    assert!(chosen(&long(4)).is_some());
    assert_eq!(chosen(&[]), None);
}

#[test]
fn gaps_have_bounds() {
    assert!(Gap::new(7, &[0; FENCE_GAP_BYTES_MAX]).is_some());
    assert_eq!(Gap::new(7, &[0; FENCE_GAP_BYTES_MAX + 1]), None);
    assert_eq!(Gap::new(8, &[0]), None);
    assert_eq!(Gap::new(0, &[]), None);
}
