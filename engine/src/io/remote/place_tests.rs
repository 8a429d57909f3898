use super::*;

fn parse(url: &str) -> Result<RemotePlace> {
    let (scheme, rest) = url.split_once("://").unwrap();
    RemotePlace::parse(Scheme::of(scheme).unwrap(), rest)
}

#[test]
fn a_root_is_a_bucket_and_a_prefix() {
    for (url, bucket, account, root) in [
        ("s3://b", "b", "", "/"),
        ("s3://b/", "b", "", "/"),
        ("s3://b/jobs//7/", "b", "", "/jobs/7/"),
        ("gs://b.example/x", "b.example", "", "/x/"),
        ("abfs://c@acc/x", "c", "acc", "/x/"),
        ("abfs://c@acc.dfs.core.windows.net/x", "c", "acc", "/x/"),
        ("webhdfs://[::1]:9870/x", "[::1]:9870", "", "/x/"),
    ] {
        let place = parse(url).unwrap();
        assert_eq!((&*place.bucket, &*place.account, &*place.root), (bucket, account, root));
    }
    assert_eq!(parse("s3://b/jobs//7/").unwrap().label(), "s3://b/jobs/7/");
    assert_eq!(parse("abfs://c@acc").unwrap().label(), "abfs://c@acc/");
}

#[test]
fn what_is_no_root_is_refused_and_not_repeated() {
    for (url, text) in [
        ("s3://", "names no bucket"),
        ("webhdfs:///x", "names no host"),
        ("abfs://c/x", "write the account"),
        ("s3://me:hunter2@b/x", "belong into the environment"),
        ("s3://b/../x", "goes down only"),
        ("s3://b/x y", "the prefix behind it is of letters, digits"),
        ("host://b/x y", "the path behind it is of letters, digits"),
        ("host://b/../x", "a path goes down only"),
        ("host://b c", "the name of a file system is of letters, digits"),
        ("s3://b\r\n/x", "letters, digits"),
        ("abfs://c:hunter2@acc/x", "a container is of letters, digits"),
        ("abfs://c@acc:hunter2/x", "an account is of letters and digits"),
    ] {
        let error = parse(url).unwrap_err();
        assert!(error.text.contains(text) && !error.text.contains("hunter2"), "{url}: {error}");
    }
}

#[test]
fn parameters_are_those_of_the_store() {
    let mut place = parse("s3://b").unwrap();
    let mut set = |name, value| place.set("s3://b", name, value);
    assert!(set("endpoint", "http://127.0.0.1:9000/").unwrap());
    assert!(set("region", "eu").unwrap());
    assert!(set("credentials", "anonymous").unwrap());
    assert!(set("checksum", "crc32c").unwrap());
    assert!(!set("user", "me").unwrap());
    for (name, value) in [
        ("endpoint", "127.0.0.1:9000"),
        ("endpoint", "ftp://x"),
        ("endpoint", "http://"),
        ("endpoint", "http://a?b=c"),
        ("endpoint", "http://me:hunter2@a"),
        ("endpoint", "http://me:hunter2%40a"),
        ("region", "eu&secret=hunter2"),
        ("credentials", "mine"),
        ("checksum", "md5"),
    ] {
        assert!(set(name, value).is_err(), "{name}={value}");
    }
    assert_eq!(place.endpoint.as_deref(), Some("http://127.0.0.1:9000"));
    assert_eq!((place.region.as_deref(), place.credentials), (Some("eu"), Credentials::Anonymous));
    assert!(place.checksum && !parse("s3://b").unwrap().checksum);
}
