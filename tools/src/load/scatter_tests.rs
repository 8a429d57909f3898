use super::Scatter;

#[test]
fn every_index_is_hit_once_and_leads_back_to_its_rank() {
    for count in [1u64, 2, 3, 5, 64, 1000, 1 << 12, (1 << 12) + 1] {
        for seed in 0..4 {
            let scatter = Scatter::new(count, seed);
            let mut seen = vec![false; count as usize];
            for rank in 0..count {
                let index = scatter.index_of(rank);
                assert!(!std::mem::replace(&mut seen[index as usize], true), "{count}: {index}");
                assert_eq!(scatter.rank_of(index), rank);
            }
        }
    }
}

#[test]
fn neighbouring_ranks_lie_apart_and_seeds_differ() {
    let count = 1_000_000;
    let (one, two) = (Scatter::new(count, 1), Scatter::new(count, 2));
    let near =
        (1..10_000).filter(|&r| one.index_of(r).abs_diff(one.index_of(r - 1)) < 1000).count();
    // 0.2 % of all pairs lie that near by chance.
    assert!(near < 200, "{near} of 10000 neighbours stayed together");
    let equal = (0..10_000).filter(|&r| one.index_of(r) == two.index_of(r)).count();
    assert!(equal < 10, "{equal} of 10000 ranks fell alike under two seeds");
}

#[test]
fn the_first_ranks_fall_evenly_over_the_space() {
    let count = 20_000_000;
    let scatter = Scatter::new(count, 7);
    let mut parts = [0u32; 16];
    for rank in 0..16_000 {
        parts[(scatter.index_of(rank) * 16 / count) as usize] += 1;
    }
    for part in parts {
        assert!((800..1200).contains(&part), "{parts:?}");
    }
}
