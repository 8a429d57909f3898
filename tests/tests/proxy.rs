//! Each fault of the proxy, in front of a server that keeps objects in memory.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use aquifer_tests::http::{self, Reply};
use aquifer_tests::proxy::{Fault, Proxy, Rule};
use tiny_http::{Header, Method, Request, Response, Server};

/// What the server was asked to do, and its objects.
#[derive(Debug, Default)]
struct Store {
    applied: Vec<String>,
    objects: HashMap<String, Vec<u8>>,
}

struct Upstream {
    server: Arc<Server>,
    store: Arc<Mutex<Store>>,
    thread: Option<JoinHandle<()>>,
}

impl Upstream {
    fn new() -> Self {
        let server = Arc::new(Server::http("127.0.0.1:0").unwrap());
        let store = Arc::<Mutex<Store>>::default();
        let (asked, kept) = (server.clone(), store.clone());
        let thread = std::thread::spawn(move || {
            while let Ok(request) = asked.recv() {
                serve(request, &mut kept.lock().unwrap());
            }
        });
        Self { server, store, thread: Some(thread) }
    }

    fn proxy(&self) -> Proxy {
        Proxy::new(&self.server.server_addr().to_string(), 7)
    }

    fn applied(&self) -> Vec<String> {
        self.store.lock().unwrap().applied.clone()
    }

    fn object(&self, path: &str) -> Option<Vec<u8>> {
        self.store.lock().unwrap().objects.get(path).cloned()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.server.unblock();
        self.thread.take().unwrap().join().unwrap();
    }
}

fn header(name: &str, value: &str) -> Header {
    Header::from_bytes(name, value).unwrap()
}

/// Takes ranges of the form `bytes=FIRST-LAST`, unless a parameter says that they are signed.
fn serve(mut request: Request, store: &mut Store) {
    store.applied.push(format!("{} {}", request.method(), request.url()));
    let url = request.url().to_owned();
    let path = url.split('?').next().unwrap();
    let range = request.headers().iter().find(|header| header.field.equiv("range"));
    let range = range.map(|range| range.value.as_str()["bytes=".len()..].to_owned());
    let elsewhere = url.strip_prefix("/redirect/").map(|to| format!("http://{to}"));
    let response = match (request.method(), store.objects.get(path)) {
        (Method::Get, _) if elsewhere.is_some() => Response::from_data([])
            .with_status_code(307)
            .with_header(header("Location", &elsewhere.unwrap())),
        (Method::Put, _) if elsewhere.is_some() => {
            Response::from_data(format!("{{\"Location\":\"{}\"}}", elsewhere.unwrap()))
        }
        (Method::Put, _) => {
            let mut body = Vec::new();
            request.as_reader().read_to_end(&mut body).unwrap();
            store.objects.insert(path.to_owned(), body);
            Response::from_data([])
        }
        (_, None) => Response::from_data([]).with_status_code(404),
        _ if range.is_none() && url.ends_with("?signed") => {
            Response::from_data([]).with_status_code(403)
        }
        (_, Some(object)) => match range {
            None => Response::from_data(object.clone()),
            Some(range) => {
                let (first, last) = range.split_once('-').unwrap();
                let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
                let told = format!("bytes {range}/{}", object.len());
                Response::from_data(&object[first..=last])
                    .with_status_code(206)
                    .with_header(header("Content-Range", &told))
            }
        },
    };
    request.respond(response.with_header(header("ETag", "\"1\""))).unwrap();
}

fn put(proxy: &Proxy, path: &str, body: &[u8]) -> std::io::Result<u16> {
    http::ask(&proxy.address(), "PUT", path, &[], body).map(|reply| reply.status)
}

fn get(proxy: &Proxy, path: &str) -> std::io::Result<Reply> {
    http::ask(&proxy.address(), "GET", path, &[], b"")
}

fn range(proxy: &Proxy, path: &str) -> Reply {
    http::ask(&proxy.address(), "GET", path, &["Range: bytes=2-5"], b"").unwrap()
}

/// Waits for what is to be applied late.
fn settle(proxy: &Proxy) {
    while proxy.counts().late > 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn without_rules_everything_passes() {
    let upstream = Upstream::new();
    let proxy = upstream.proxy();
    assert_eq!(put(&proxy, "/a?x=1", b"0123456789").unwrap(), 200);
    let whole = get(&proxy, "/a").unwrap();
    assert_eq!((whole.status, &whole.body[..]), (200, &b"0123456789"[..]));
    assert_eq!(whole.header("etag"), Some("\"1\""));
    let part = range(&proxy, "/a");
    assert_eq!((part.status, &part.body[..]), (206, &b"2345"[..]));
    assert_eq!(part.header("content-range"), Some("bytes 2-5/10"));
    let head = http::ask(&proxy.address(), "HEAD", "/a", &[], b"").unwrap();
    assert_eq!((head.status, head.header("content-length")), (200, Some("10")));
    assert_eq!(get(&proxy, "/b").unwrap().status, 404);
    assert_eq!(upstream.applied(), ["PUT /a?x=1", "GET /a", "GET /a", "HEAD /a", "GET /b"]);
    let counts = proxy.counts();
    assert_eq!((counts.requests_of("GET"), counts.requests_of("PUT")), (3, 1));
    assert!(counts.faults.is_empty(), "{counts:?}");
    assert_eq!(counts.connections, 5);
}

#[test]
fn large_bodies_pass_in_both_directions() {
    let upstream = Upstream::new();
    let proxy = upstream.proxy();
    let body: Vec<u8> = (0..5_000_000_u32).map(|at| (at % 251) as u8).collect();
    assert_eq!(put(&proxy, "/large", &body).unwrap(), 200);
    let reply = get(&proxy, "/large").unwrap();
    assert!(reply.body == body, "{} bytes", reply.body.len());
}

#[test]
fn an_answer_is_not_applied() {
    let upstream = Upstream::new();
    let proxy = upstream.proxy();
    proxy.rule(Rule::new(Fault::Answer { status: 503, retry_after: Some(3) }).times(1));
    proxy.rule(Rule::new(Fault::Answer { status: 429, retry_after: None }).times(1));
    let reply = get(&proxy, "/a").unwrap();
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("3")));
    let reply = get(&proxy, "/a").unwrap();
    assert_eq!((reply.status, reply.header("retry-after")), (429, None));
    assert_eq!(get(&proxy, "/a").unwrap().status, 404);
    assert_eq!(upstream.applied(), ["GET /a"]);
    assert_eq!(proxy.counts().faults_of("answer"), 2);
}

#[test]
fn a_reset_is_not_applied_and_a_lost_reply_is() {
    let upstream = Upstream::new();
    let proxy = upstream.proxy();
    proxy.rule(Rule::new(Fault::Reset).path("/a"));
    proxy.rule(Rule::new(Fault::LoseReply).path("/b"));
    assert_eq!(put(&proxy, "/a", b"1").unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(put(&proxy, "/b", b"1").unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert_eq!((upstream.object("/a"), upstream.object("/b")), (None, Some(b"1".to_vec())));
    let counts = proxy.counts();
    assert_eq!((counts.faults_of("reset"), counts.faults_of("lose reply")), (1, 1));
}

#[test]
fn what_is_applied_late_overwrites_what_came_between() {
    let upstream = Upstream::new();
    let proxy = upstream.proxy();
    let delay = Duration::from_millis(300);
    proxy.rule(Rule::new(Fault::ApplyLate(delay)).path("/late").times(1));
    proxy.rule(Rule::new(Fault::ApplyAgain(delay)).path("/again").times(1));
    assert_eq!(put(&proxy, "/late", b"1").unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(put(&proxy, "/again", b"1").unwrap(), 200);
    assert_eq!(put(&proxy, "/late", b"2").unwrap(), 200);
    assert_eq!(put(&proxy, "/again", b"2").unwrap(), 200);
    settle(&proxy);
    assert_eq!(upstream.object("/late").unwrap(), b"1");
    assert_eq!(upstream.object("/again").unwrap(), b"1");
    let puts = upstream.applied();
    let count = |path: &str| puts.iter().filter(|put| put.ends_with(path)).count();
    assert_eq!((count("/late"), count("/again")), (2, 3));
}

#[test]
fn a_truncated_body_is_shorter_than_its_length() {
    let upstream = Upstream::new();
    let proxy = upstream.proxy();
    put(&proxy, "/a", b"0123456789").unwrap();
    proxy.rule(Rule::new(Fault::Truncate(4)).times(1));
    proxy.rule(Rule::new(Fault::Truncate(100)).times(1));
    for expected in [&b"0123"[..], b"012345678"] {
        let reply = get(&proxy, "/a").unwrap();
        assert_eq!((reply.status, reply.header("content-length")), (200, Some("10")));
        assert_eq!(reply.body, expected);
    }
    assert_eq!(get(&proxy, "/a").unwrap().body, b"0123456789");
}

#[test]
fn a_range_is_answered_with_the_whole() {
    let upstream = Upstream::new();
    let proxy = upstream.proxy();
    put(&proxy, "/a", b"0123456789").unwrap();
    proxy.rule(Rule::new(Fault::WholeBody));
    for (path, body) in [("/a", &b"0123456789"[..]), ("/a?signed", b"\0\x002345\0\0\0\0")] {
        let reply = range(&proxy, path);
        assert_eq!((reply.status, &reply.body[..]), (200, body), "{path}");
        assert_eq!(reply.header("content-range"), None);
    }
    range(&proxy, "/a?op=OPEN&offset=2&length=4&user=a");
    assert_eq!(upstream.applied().last().unwrap(), "GET /a?op=OPEN&user=a");
}

#[test]
fn a_wrong_range_may_say_so() {
    let upstream = Upstream::new();
    let proxy = upstream.proxy();
    put(&proxy, "/a", b"0123456789").unwrap();
    for (honest, told) in [(true, "bytes 3-6/10"), (false, "bytes 2-5/10")] {
        proxy.rule(Rule::new(Fault::WrongRange { shift: 1, honest }).times(1));
        let reply = range(&proxy, "/a");
        assert_eq!((reply.status, &reply.body[..]), (206, &b"3452"[..]));
        assert_eq!(reply.header("content-range"), Some(told));
    }
    assert_eq!(range(&proxy, "/a").body, b"2345");
}

#[test]
fn an_object_is_missed_for_a_while_after_it_was_put() {
    let upstream = Upstream::new();
    let proxy = upstream.proxy();
    let missing = Fault::Answer { status: 404, retry_after: None };
    proxy.rule(Rule::new(missing).method("GET").after_put().times(2));
    get(&proxy, "/b").unwrap();
    put(&proxy, "/a", b"1").unwrap();
    let told: Vec<u16> = (0..3).map(|_| get(&proxy, "/a").unwrap().status).collect();
    assert_eq!(told, [404, 404, 200]);
    assert_eq!(upstream.applied(), ["GET /b", "PUT /a", "GET /a"]);
}

#[test]
fn an_old_version_is_served_until_the_rule_goes() {
    let upstream = Upstream::new();
    let proxy = upstream.proxy();
    proxy.rule(Rule::new(Fault::Stale).method("GET"));
    assert_eq!(get(&proxy, "/new").unwrap().status, 404);
    put(&proxy, "/a", b"old").unwrap();
    assert_eq!(get(&proxy, "/a").unwrap().body, b"old");
    assert_eq!(proxy.counts().faults_of("stale"), 0);
    put(&proxy, "/a", b"young").unwrap();
    put(&proxy, "/new", b"1").unwrap();
    assert_eq!(get(&proxy, "/a").unwrap().body, b"old");
    assert_eq!(get(&proxy, "/new").unwrap().status, 404);
    assert_eq!(proxy.counts().faults_of("stale"), 2);
    proxy.clear();
    assert_eq!(get(&proxy, "/a").unwrap().body, b"young");
    assert_eq!(get(&proxy, "/new").unwrap().status, 200);
}

#[test]
fn an_error_inside_a_success_is_not_applied() {
    let upstream = Upstream::new();
    let proxy = upstream.proxy();
    proxy.rule(Rule::new(Fault::ErrorInside("InternalError")).times(1));
    let reply = http::ask(&proxy.address(), "PUT", "/a", &[], b"1").unwrap();
    assert_eq!(reply.status, 200);
    assert!(String::from_utf8_lossy(&reply.body).contains("<Error><Code>InternalError</Code>"));
    assert!(upstream.applied().is_empty());
    assert_eq!(proxy.counts().faults_of("error inside"), 1);
}

#[test]
fn a_bit_is_flipped_on_the_way_up() {
    let upstream = Upstream::new();
    let proxy = upstream.proxy();
    proxy.rule(Rule::new(Fault::Flip).times(3));
    assert_eq!(put(&proxy, "/a", b"0123456").unwrap(), 200);
    assert_eq!(put(&proxy, "/none", b"").unwrap(), 200);
    assert_eq!(get(&proxy, "/a").unwrap().body, b"0122456");
    assert_eq!(upstream.object("/none").unwrap(), b"");
    assert_eq!(proxy.counts().faults_of("flip"), 3);
}

#[test]
fn a_redirect_names_the_other_host() {
    let upstream = Upstream::new();
    let proxy = upstream.proxy();
    proxy.rule(Rule::new(Fault::Redirect("127.0.0.1:9".to_owned())));
    let reply = get(&proxy, "/a?b=c").unwrap();
    assert_eq!((reply.status, reply.header("location")), (307, Some("http://127.0.0.1:9/a?b=c")));
    assert!(upstream.applied().is_empty());
}

#[test]
fn hosts_that_the_server_redirects_to_are_behind_the_proxy() {
    let (upstream, other) = (Upstream::new(), Upstream::new());
    let proxy = upstream.proxy();
    let other_address = other.server.server_addr().to_string();
    assert_eq!(get(&proxy, &format!("/@{other_address}/a")).unwrap().status, 404);
    let to = format!("/redirect/{other_address}/a?b=c");
    let drawn = format!("{}/@{other_address}/a?b=c", proxy.endpoint());
    assert_eq!(get(&proxy, &to).unwrap().header("location"), Some(drawn.as_str()));
    let json = http::ask(&proxy.address(), "PUT", &to, &[], b"").unwrap();
    let told = String::from_utf8(json.body.clone()).unwrap();
    assert_eq!(told, format!("{{\"Location\":\"{drawn}\"}}"));
    assert_eq!(json.header("content-length"), Some(told.len().to_string().as_str()));
    proxy.rule(Rule::new(Fault::Reset).path("/b"));
    assert_eq!(put(&proxy, drawn.strip_prefix(&proxy.endpoint()).unwrap(), b"1").unwrap(), 200);
    assert_eq!(other.object("/a").unwrap(), b"1");
    put(&proxy, &format!("/@{other_address}/b"), b"1").unwrap_err();
    assert_eq!(other.applied(), ["PUT /a?b=c"]);
}

#[test]
fn an_outage_refuses_and_ends() {
    let upstream = Upstream::new();
    let proxy = upstream.proxy();
    put(&proxy, "/a", b"1").unwrap();
    for _ in 0..3 {
        proxy.outage();
        assert_eq!(get(&proxy, "/a").unwrap_err().kind(), ErrorKind::ConnectionRefused);
        proxy.restore();
        assert_eq!(get(&proxy, "/a").unwrap().body, b"1");
    }
    proxy.restore();
    assert_eq!(get(&proxy, "/a").unwrap().status, 200);
}

#[test]
fn an_outage_ends_requests_under_way() {
    let upstream = Upstream::new();
    let proxy = upstream.proxy();
    proxy.rule(Rule::new(Fault::Delay(Duration::from_secs(3600))));
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| get(&proxy, "/a"));
        while proxy.counts().faults_of("delay") == 0 {
            std::thread::yield_now();
        }
        proxy.outage();
        waits.join().unwrap().unwrap_err();
    });
    assert!(upstream.applied().is_empty());
}

#[test]
fn a_delay_comes_before_another_fault() {
    let upstream = Upstream::new();
    let proxy = upstream.proxy();
    let delay = Duration::from_millis(50);
    proxy.rule(Rule::new(Fault::Delay(delay)));
    proxy.rule(Rule::new(Fault::Answer { status: 500, retry_after: None }).times(1));
    let begun = std::time::Instant::now();
    assert_eq!(get(&proxy, "/a").unwrap().status, 500);
    assert!(begun.elapsed() >= delay);
    assert_eq!(get(&proxy, "/a").unwrap().status, 404);
    let counts = proxy.counts();
    assert_eq!((counts.faults_of("delay"), counts.faults_of("answer")), (2, 1));
}

#[test]
fn a_rule_meets_what_fits_it() {
    let upstream = Upstream::new();
    let proxy = upstream.proxy();
    let fault = Fault::Answer { status: 500, retry_after: None };
    proxy.rule(Rule::new(fault).method("GET").path("/m/").skip(1).times(2));
    let get = |path| get(&proxy, path).unwrap().status;
    assert_eq!(put(&proxy, "/m/a", b"").unwrap(), 200);
    assert_eq!(
        [get("/m/a"), get("/n"), get("/m/a"), get("/m/b"), get("/m/a")],
        [200, 404, 500, 500, 200]
    );
}

#[test]
fn chances_follow_from_the_seed() {
    let upstream = Upstream::new();
    let server = upstream.server.server_addr().to_string();
    let drawn = |seed| {
        let proxy = Proxy::new(&server, seed);
        proxy.rule(Rule::new(Fault::Answer { status: 500, retry_after: None }).chance(3000));
        (0..100).map(|_| get(&proxy, "/a").unwrap().status).collect::<Vec<_>>()
    };
    let first = drawn(1);
    let faults = first.iter().filter(|status| **status == 500).count();
    assert!((10..60).contains(&faults), "{faults}");
    assert_eq!(first, drawn(1));
    assert_ne!(first, drawn(2));
}

#[test]
fn a_server_that_is_gone_is_a_bad_gateway() {
    let upstream = Upstream::new();
    let proxy = upstream.proxy();
    drop(upstream);
    let reply = get(&proxy, "/a").unwrap();
    assert_eq!(reply.status, 502);
    assert!(String::from_utf8_lossy(&reply.body).starts_with("the server behind the proxy: "));
}
