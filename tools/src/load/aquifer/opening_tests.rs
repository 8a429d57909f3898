use std::time::Duration;

use aquifer::io::url;

use super::slower;

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
