use std::net::TcpListener;
use std::thread;

use super::*;
use crate::io::wire;

const PATIENCE: Nanos = 60_000_000_000;
const BYTES: u64 = 25;
const ERRAND: &[u8] = b"an errand, as far as its courier knows";

fn secret() -> Secret {
    Secret::new(b"a secret of the tests").unwrap()
}

fn soon() -> Nanos {
    clock::now() + PATIENCE
}

/// A compactor that greets each engine, takes its errand and does this.
fn fake(serve: impl Fn(&mut Wire) + Send + 'static) -> String {
    let listener = wire::listen("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut wire = Wire::accept(stream.unwrap(), &secret(), soon()).unwrap();
            wire.send(&Report::Ready.encode(), soon()).unwrap();
            if wire.receive(soon()).is_ok_and(|errand| errand == ERRAND) {
                serve(&mut wire);
            }
        }
    });
    address
}

/// One that says this, and no more.
fn says(reports: Vec<Report>) -> String {
    fake(move |wire| {
        reports.iter().for_each(|report| wire.send(&report.encode(), soon()).unwrap());
    })
}

fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn done() -> Report {
    Report::Done(Vec::new())
}

fn compactors(addresses: Vec<String>) -> Arc<Compactors> {
    Arc::new(Compactors::new(&addresses, secret()).unwrap())
}

fn send(to: &Arc<Compactors>) -> Result<(usize, Vec<u8>)> {
    send_counted(to, &Arc::default())
}

fn send_counted(to: &Arc<Compactors>, moved: &Arc<AtomicU64>) -> Result<(usize, Vec<u8>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(to.send(ERRAND.to_vec(), BYTES, moved.clone()))
}

fn failures(of: &Compactors) -> Vec<u64> {
    of.statistics().each.iter().map(|compactor| compactor.failures).collect()
}

#[test]
fn a_report_comes_back_with_what_was_written_meanwhile() {
    let progress = |bytes| Report::Progress(bytes);
    let to = compactors(vec![says(vec![
        progress(10),
        progress(5),
        progress(u64::MAX),
        progress(0),
        done(),
    ])]);
    let moved = Arc::new(AtomicU64::new(0));
    assert_eq!(send_counted(&to, &moved).unwrap(), (0, done().encode()));
    assert_eq!(moved.load(Ordering::Relaxed), BYTES, "no more than there is to merge");
    to.settle(Verdict::Accepted(0, 77));
    let statistics = to.statistics();
    assert_eq!((statistics.merges, statistics.written_bytes, statistics.returned), (1, 77, 0));
}

#[test]
fn errands_go_round() {
    let to = compactors(vec![says(vec![done()]), says(vec![done()])]);
    let by: Vec<usize> = (0..4).map(|_| send(&to).unwrap().0).collect();
    assert_eq!(by, [0, 1, 0, 1]);
}

#[test]
fn who_is_busy_or_away_is_passed_over() {
    let to = compactors(vec![says(vec![Report::Busy]), nobody(), says(vec![done()])]);
    assert_eq!(send(&to).unwrap().0, 2);
    let statistics = to.statistics();
    assert_eq!((statistics.each[0].busy, statistics.returned), (1, 0));
    assert_eq!(failures(&to), [0, 1, 0]);
    assert!(statistics.each[1].alone_ns > 0);
}

#[test]
fn after_an_errand_was_taken_no_other_gets_it() {
    let lost: [fn() -> String; 5] = [
        || says(Vec::new()),
        || says(vec![Report::Progress(1)]),
        || says(vec![Report::Failed("the disk is full".to_owned())]),
        || says(vec![Report::Ready]),
        || fake(|wire| wire.send(b"\xff\xff", soon()).unwrap()),
    ];
    for lost in lost {
        let to = compactors(vec![lost(), says(vec![done()])]);
        send(&to).unwrap_err();
        assert_eq!((failures(&to), to.statistics().returned), (vec![1, 0], 1));
        // The one that failed is left alone.
        assert_eq!([(); 3].map(|()| send(&to).unwrap().0), [1; 3]);
    }
}

#[test]
fn a_compactor_that_never_ends_is_given_up() {
    let listener = wire::listen("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let endless = thread::spawn(move || {
        let mut wire = Wire::accept(listener.accept().unwrap().0, &secret(), soon()).unwrap();
        while wire.send(&Report::Progress(1).encode(), soon()).is_ok() {}
    });
    let mut wire = Wire::connect(&address, &secret(), soon()).unwrap();
    let deadline = clock::now() + 50 * MS;
    let error = report_until(&mut wire, deadline, (BYTES, &AtomicU64::new(0))).unwrap_err();
    assert!(error.text.contains("has not ended a merge in time"), "{error}");
    wire.close();
    endless.join().unwrap();
    assert_eq!(patience(0), ERRAND_BASE_NS);
    assert_eq!(patience(8 << 20), ERRAND_BASE_NS + 8 * ERRAND_MIB_NS);
    assert_eq!(patience(u64::MAX), u64::MAX);
}

#[test]
fn each_failure_in_a_row_leaves_a_compactor_alone_for_twice_as_long() {
    let to = compactors(vec![nobody()]);
    let compactor = &to.each[0];
    let mut alone = Vec::new();
    for _ in 0..8 {
        compactor.failed(&none_took_it(), 1);
        alone.push(to.statistics().each[0].alone_ns.div_ceil(MS * 1000));
    }
    assert_eq!(alone, [1, 2, 4, 8, 16, 32, 64, 64]);
    assert!(send(&to).is_err());
    assert_eq!((failures(&to), to.statistics().returned), (vec![8], 1), "it was not asked");
    to.settle(Verdict::Accepted(0, 1));
    // One that holds up merges is left alone for as long at least.
    compactor.failed(&none_took_it(), 50_000 * MS);
    assert_eq!(to.statistics().each[0].alone_ns.div_ceil(MS * 1000), 50);
    compactor.failed(&none_took_it(), 50_000 * MS);
    assert_eq!(to.statistics().each[0].alone_ns.div_ceil(MS * 1000), 100);
    to.settle(Verdict::Accepted(0, 1));
    assert_eq!(to.statistics().each[0].alone_ns, 0);
    to.settle(Verdict::Rejected(0, none_took_it()));
    assert_eq!((failures(&to), to.statistics().returned), (vec![11], 2));
}

#[test]
fn many_that_do_not_answer_hold_up_no_merge_one_by_one() {
    // They accept, as a kernel does for a stopped process, and greet nobody.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let to = compactors(vec![address; COMPACTORS_MAX]);
    assert!(send(&to).is_err());
    let asked = failures(&to).into_iter().sum::<u64>();
    assert!(asked < 3, "{asked} were waited for");
}

#[test]
fn addresses_are_checked_when_the_engine_opens() {
    for address in ["", "host", ":7070", "host:", "host:70000", "http://host"] {
        let refused = Compactors::new(&[address.to_owned()], secret());
        assert!(refused.unwrap_err().text.contains("use HOST:PORT"), "{address}");
    }
    let many = vec!["host:1".to_owned(); COMPACTORS_MAX + 1];
    assert!(Compactors::new(&many, secret()).is_err());
    assert!(!format!("{:?}", compactors(vec!["[::1]:7070".to_owned()])).contains("tests"));
}
