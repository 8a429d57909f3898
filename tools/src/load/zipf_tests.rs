use super::{Rng, Zipf};

/// Mass of the ranks `from..to`, summed term by term.
fn mass(theta: f64, from: u64, to: u64) -> f64 {
    (from..to).map(|rank| ((rank + 1) as f64).powf(-theta)).sum()
}

fn shares(count: u64, theta: f64, samples: u32, bounds: &[u64]) -> Vec<f64> {
    let (zipf, mut rng) = (Zipf::new(count, theta), Rng::new(42));
    let mut hits = vec![0u32; bounds.len()];
    for _ in 0..samples {
        let rank = zipf.sample(&mut rng);
        assert!(rank < count);
        for (hit, &bound) in hits.iter_mut().zip(bounds) {
            *hit += u32::from(rank < bound);
        }
    }
    hits.into_iter().map(|hit| f64::from(hit) / f64::from(samples)).collect()
}

#[test]
fn samples_follow_the_law_from_the_head_to_the_tail() {
    for (count, theta) in
        [(1000, 0.5), (1000, 0.99), (1000, 1.0), (1000, 1.000001), (1000, 1.5), (1, 0.99)]
    {
        let bounds: Vec<u64> = [1, 2, 3, 10, 100, 1000].map(|b: u64| b.min(count)).to_vec();
        let all = mass(theta, 0, count);
        for (share, bound) in shares(count, theta, 400_000, &bounds).into_iter().zip(bounds) {
            let want = mass(theta, 0, bound) / all;
            assert!((share - want).abs() < 0.004, "zipf({theta}) of {count}: {share} {want}");
        }
    }
}

#[test]
fn twenty_million_ranks_at_0_99_match_the_law() {
    let count = 20_000_000;
    let bounds = [1, 100, 10_000, 1_000_000, 2_000_000, 10_000_000];
    let all = mass(0.99, 0, count);
    for (share, bound) in shares(count, 0.99, 1_000_000, &bounds).into_iter().zip(bounds) {
        let want = mass(0.99, 0, bound) / all;
        assert!((share - want).abs() < 0.003, "first {bound}: {share}, by the law {want}");
    }
}
