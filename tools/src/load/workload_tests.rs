use super::{ALL, Dist, OpKind, Rng, Workload};

#[test]
fn every_workload_has_one_name() {
    for (workload, name) in ALL {
        assert_eq!(name.parse(), Ok(workload));
        assert_eq!(workload.name(), name);
    }
}

#[test]
fn what_this_build_lacks_is_refused_by_name() {
    for name in ["ycsb-d", "ycsb-e", "wordcount", "rescale", "Get", ""] {
        let error = name.parse::<Workload>().unwrap_err();
        assert!(error.contains(&format!("'{name}'")) && error.contains("get-absent"), "{error}");
    }
}

#[test]
fn mixes_hold_their_shares() {
    let mut rng = Rng::new(1);
    let cases = [
        (Workload::Get, 1.0, OpKind::Get),
        (Workload::Put, 0.0, OpKind::Put),
        (Workload::Rmw, 0.0, OpKind::Rmw),
        (Workload::YcsbA, 0.5, OpKind::Put),
        (Workload::YcsbB, 0.95, OpKind::Put),
        (Workload::YcsbF, 0.5, OpKind::Rmw),
    ];
    for (workload, share, other) in cases {
        let kinds: Vec<OpKind> = (0..20_000).map(|_| workload.mix().sample(&mut rng)).collect();
        let gets = kinds.iter().filter(|kind| **kind == OpKind::Get).count() as f64 / 20_000.0;
        assert!((gets - share).abs() < 0.012, "{workload}: {gets}");
        assert!(kinds.iter().all(|kind| *kind == OpKind::Get || *kind == other));
        assert_eq!(workload.writes(), share < 1.0);
    }
}

#[test]
fn an_asked_distribution_wins_except_for_the_load() {
    assert_eq!(Workload::Get.dist(None), Dist::Uniform);
    assert_eq!(Workload::YcsbA.dist(None), Dist::Zipf(0.99));
    assert_eq!(Workload::YcsbA.dist(Some(Dist::Uniform)), Dist::Uniform);
    assert_eq!(Workload::Load.dist(Some(Dist::Uniform)), Dist::Sequential);
}
