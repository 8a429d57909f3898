use crate::codec::reader::Reader;
use crate::sst::clears::Clears;
use crate::sst::testing::Random;

#[test]
fn covers_what_starts_with_a_prefix() {
    let random = &mut Random(1);
    for _ in 0..300 {
        let mut word = |longest: usize| -> Vec<u8> {
            (0..random.below(longest)).map(|_| b'a' + random.below(3) as u8).collect()
        };
        let prefixes: Vec<Vec<u8>> = (0..20).map(|_| [b"a".to_vec(), word(6)].concat()).collect();
        let clears = Clears::new(prefixes.iter().map(|p| p.as_slice().into()).collect());
        let mut bytes = Vec::new();
        clears.put(&mut bytes);
        let again = Clears::decode(&mut Reader::new(&bytes)).expect("just written");
        assert_eq!(again, clears);
        for _ in 0..100 {
            let key = word(9);
            let expected = prefixes.iter().any(|p| key.starts_with(p));
            assert_eq!(again.cover(&key), expected, "{key:?} of {prefixes:?}");
        }
    }
}

#[test]
fn an_empty_prefix_clears_all_and_no_prefix_nothing() {
    let all = Clears::new(vec![b"x".as_slice().into(), b"".as_slice().into()]);
    assert!(all.cover(b"") && all.cover(b"anything"));
    assert_eq!(all.iter().count(), 1);
    let none = Clears::new(Vec::new());
    assert!(!none.cover(b"") && none.is_empty());
}

#[test]
fn lists_out_of_order_are_refused() {
    let decode = |bytes: &[u8]| Clears::decode(&mut Reader::new(bytes));
    assert!(decode(b"\x02\x01a\x01b").is_ok());
    for bad in [&b"\x02\x01b\x01a"[..], b"\x02\x01a\x01a", b"\x02\x01a\x02ab", b"\x02\x01a", b""] {
        assert!(decode(bad).is_err());
    }
    assert!(decode(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01").is_err(), "a forged count");
    let long = [&[1, 0x80, 0x20][..], &[7; 4096]].concat();
    assert!(decode(&long).is_err(), "a prefix longer than a key");
}
