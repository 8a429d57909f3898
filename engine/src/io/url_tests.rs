use super::*;

fn folder(path: &str) -> Place {
    Place::Folder(PathBuf::from(path))
}

#[test]
fn known_urls() {
    let memory = |name: &str| Place::Memory(name.to_owned());
    let table = [
        ("file:///a/b", folder("/a/b"), 0, 0.0, None),
        ("file:/a/b", folder("/a/b"), 0, 0.0, None),
        ("file://localhost/a", folder("/a"), 0, 0.0, None),
        ("file:///a%20b%25", folder("/a b%"), 0, 0.0, None),
        ("/a/b?latency=500us", folder("/a/b"), 500_000, 0.0, None),
        ("memory://x", memory("x"), 0, 0.0, None),
        ("memory://x?latency=2ms&fail=0.01", memory("x"), 2_000_000, 0.01, None),
        ("memory://x?fail=1&seed=7", memory("x"), 0, 1.0, Some(7)),
        ("memory://x?latency=1s&", memory("x"), 1_000_000_000, 0.0, None),
    ];
    for (url, place, latency, fail, seed) in table {
        assert_eq!(parse(url).unwrap(), DfsUrl { place, latency, fail, seed }, "{url}");
    }
    let here = std::env::current_dir().unwrap().join("data");
    assert_eq!(parse("data").unwrap().place, Place::Folder(here));
}

#[test]
fn refused_urls_name_the_remedy() {
    let table = [
        ("", "names no folder"),
        ("file://a/b", "file:///a/b"),
        ("file:///a%2", "write % as %25"),
        ("memory://", "needs a name"),
        ("s4://bucket", "unknown scheme 's4'; known: file, memory, s3"),
        ("s4://me:hunter2@bucket", "unknown scheme 's4'"),
        ("s3://me:hunter2@bucket/x", "belong into the environment"),
        ("s3://bucket?secret_key=hunter2", "'secret_key' belongs into the environment"),
        ("s3://bucket?zone=hunter2", "known: endpoint, region, credentials, plaintext, checksum"),
        ("s3://bucket?endpont=http://x", "did you mean endpoint?"),
        ("fle:///a", "did you mean file?"),
        ("/a?latncy=2ms", "did you mean latency?"),
        ("/a?zone=1", "unknown parameter 'zone'; known: latency, fail, seed"),
        ("/a?latency=2", "no known unit"),
        ("/a?latency=ms", "no number"),
        ("/a?latency=11s", "beyond ten seconds"),
        ("/a?latency=99999999999999999999s", "no number"),
        ("/a?fail=1.5", "from 0 to 1"),
        ("/a?fail=NaN", "from 0 to 1"),
        ("/a?fail", "from 0 to 1"),
        ("/a?seed=x", "whole number"),
    ];
    for (url, text) in table {
        let error = parse(url).unwrap_err();
        assert!(error.text.contains(text) && !error.text.contains("hunter2"), "{url}: {error}");
    }
    // A far-off word gets no suggestion.
    assert!(!parse("ftp://x").unwrap_err().text.contains("did you mean"));
}

#[test]
fn stores_take_their_parameters_beside_those_of_every_place() {
    let parsed = parse("s3://b/p?endpoint=https%3A%2F%2Fh:9&latency=2ms&region=eu").unwrap();
    let Place::Remote(place) = &parsed.place else { panic!("{parsed:?}") };
    assert_eq!(place.endpoint.as_deref(), Some("https://h:9"));
    assert_eq!((place.region.as_deref(), parsed.latency), (Some("eu"), 2_000_000));
    assert_eq!(place.label(), "s3://b/p/");
}

#[test]
fn nothing_crosses_a_network_unencrypted_unless_that_is_allowed() {
    for url in [
        "s3://b/p?endpoint=http://store.example:9000",
        "s3://b/p?endpoint=http://127.0.0.1.example:9000",
        "gs://b/p?endpoint=http://10.0.0.1",
        "abfs://c@a/p?endpoint=http://[2001:db8::1]:80/a",
        "webhdfs://namenode:9870/p",
    ] {
        let error = parse(url).unwrap_err();
        assert!(error.text.contains("plaintext=allowed"), "{url}: {error}");
        let join = if url.contains('?') { '&' } else { '?' };
        assert!(parse(&format!("{url}{join}plaintext=allowed")).is_ok(), "{url}");
        assert!(parse(&format!("{url}{join}plaintext=yes")).is_err(), "{url}");
    }
    for url in [
        "s3://b/p",
        "s3://b/p?endpoint=https://store.example",
        "s3://b/p?endpoint=http://127.0.0.1:9000",
        "gs://b/p?endpoint=http://localhost:4443/storage",
        "webhdfs://[::1]:9870/p",
        "webhdfs://namenode:9870/p?endpoint=https://gateway:9871",
    ] {
        assert!(parse(url).is_ok(), "{url}");
    }
}

#[test]
fn a_scheme_without_slashes_is_refused() {
    for url in ["memory:name", "s3:/user:hunter2@b", "host:/files/x"] {
        let scheme = url.split(':').next().unwrap();
        let error = parse(url).unwrap_err();
        let names = error.text.contains(&format!("{scheme}://")) && error.text.contains("./");
        assert!(names && !error.text.contains("hunter2"), "{error}");
    }
    assert!(matches!(parse("./memory:name").unwrap().place, Place::Folder(_)));
}

#[test]
fn a_url_without_faults_names_the_same_place() {
    for (url, calm) in [
        ("file:///a?latency=2ms&fail=0.1&seed=7", "file:///a"),
        (
            "s3://b/p?endpoint=https://h:1&latency=2ms&region=x",
            "s3://b/p?endpoint=https://h:1&region=x",
        ),
        ("memory://m", "memory://m"),
    ] {
        assert_eq!(without_faults(url), calm);
        assert_eq!(parse(&without_faults(url)).unwrap().place, parse(url).unwrap().place);
    }
}
