use std::time::Duration;

use aquifer::io::url;
use aquifer::state::Key;

use super::{KEY_GROUPS, range_of, slower, state_of};

#[test]
fn a_slower_url_names_the_same_place() {
    let latency = Duration::from_millis(200);
    for asked in ["file:///a/b", "memory://m?fail=0.1", "/a?latency=1ms&seed=3"] {
        assert_eq!(slower(asked, Duration::ZERO), asked);
        let (plain, slow) =
            (url::parse(asked).unwrap(), url::parse(&slower(asked, latency)).unwrap());
        assert_eq!((slow.latency, &slow.place), (200_000_000, &plain.place), "{asked}");
        assert_eq!((slow.fail, slow.seed), (plain.fail, plain.seed), "{asked}");
    }
}

#[test]
fn each_key_group_is_of_one_store() {
    for count in [1, 2, 3, 7, 100, KEY_GROUPS] {
        let stores: Vec<u32> = (0..count).collect();
        let mut next = 0;
        for &at in &stores {
            let (first, last) = range_of(at, count);
            assert_eq!(u32::from(first), next, "store {at} of {count}");
            for group in first..=last {
                assert_eq!(state_of(&stores, &Key { group, bytes: b"" }), at, "of {count}");
            }
            next = u32::from(last) + 1;
        }
        assert_eq!(next, KEY_GROUPS);
    }
}
