use super::{ALL, Dist, Kind, Rng, Workload};

#[test]
fn every_workload_has_one_name() {
    for (workload, name) in ALL {
        assert_eq!(name.parse(), Ok(workload));
        assert_eq!(workload.name(), name);
    }
}

#[test]
fn what_this_build_lacks_is_refused_by_name() {
    for name in ["ycsb-g", "wordcount", "window", "Get", ""] {
        let error = name.parse::<Workload>().unwrap_err();
        assert!(error.contains(&format!("'{name}'")) && error.contains("get-absent"), "{error}");
    }
}

#[test]
fn mixes_hold_their_shares() {
    let mut rng = Rng::new(1);
    let cases = [
        (Workload::Get, Kind::Get, 1.0, Kind::Get),
        (Workload::Put, Kind::Get, 0.0, Kind::Put),
        (Workload::Rmw, Kind::Get, 0.0, Kind::Rmw),
        (Workload::YcsbA, Kind::Get, 0.5, Kind::Put),
        (Workload::YcsbB, Kind::Get, 0.95, Kind::Put),
        (Workload::YcsbC, Kind::Get, 1.0, Kind::Put),
        (Workload::YcsbD, Kind::Get, 0.95, Kind::Insert),
        (Workload::YcsbE, Kind::Scan, 0.95, Kind::Insert),
        (Workload::YcsbF, Kind::Get, 0.5, Kind::Rmw),
    ];
    for (workload, read, share, other) in cases {
        let kinds: Vec<Kind> = (0..20_000).map(|_| workload.mix().sample(&mut rng)).collect();
        let reads = kinds.iter().filter(|kind| **kind == read).count() as f64 / 20_000.0;
        assert!((reads - share).abs() < 0.012, "{workload}: {reads}");
        assert!(kinds.iter().all(|kind| *kind == read || *kind == other));
        assert_eq!(workload.writes(), share < 1.0);
    }
}

#[test]
fn an_asked_distribution_wins_except_for_the_load() {
    assert_eq!(Workload::Get.dist(None), Dist::Uniform);
    assert_eq!(Workload::YcsbA.dist(None), Dist::Zipf(0.99));
    assert_eq!(Workload::YcsbA.dist(Some(Dist::Uniform)), Dist::Uniform);
    assert_eq!(Workload::YcsbD.dist(None), Dist::Latest);
    assert_eq!(Workload::YcsbE.dist(None), Dist::Zipf(0.99));
    assert_eq!(Workload::Load.dist(Some(Dist::Uniform)), Dist::Sequential);
}
