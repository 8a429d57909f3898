use super::{Dist, Popularity, Rng, Sampler};

#[test]
fn names_parse_and_print_alike_and_nonsense_is_refused() {
    for name in ["uniform", "sequential", "zipf:0.99", "hotspot:0.01:0.9", "latest"] {
        assert_eq!(name.parse::<Dist>().unwrap().to_string(), name);
    }
    for name in
        ["", "zipf", "zipf:0", "zipf:x", "zipf:nan", "hotspot:0.1", "hotspot:2:0.5", "newest"]
    {
        assert!(name.parse::<Dist>().unwrap_err().contains("use uniform"), "{name}");
    }
}

#[test]
fn sequential_visits_every_record_in_turn() {
    let (mut sampler, mut rng) = (Sampler::new(Dist::Sequential, 3, 1), Rng::new(1));
    let drawn: Vec<u64> = (0..7).map(|_| sampler.sample(&mut rng, 0)).collect();
    assert_eq!(drawn, [0, 1, 2, 0, 1, 2, 0]);
}

#[test]
fn shares_of_the_most_popular_tenth() {
    let records = 10_000;
    let cases = [("uniform", 0.1), ("hotspot:0.1:0.9", 0.9), ("zipf:0.99", 0.759)];
    for (name, want) in cases {
        let dist: Dist = name.parse().unwrap();
        let popularity = Popularity::new(dist, records, 9);
        let (mut sampler, mut rng) = (Sampler::new(dist, records, 9), Rng::new(3));
        let hits = (0..200_000)
            .filter(|_| popularity.rank_of(sampler.sample(&mut rng, 0)) < records / 10)
            .count();
        let share = hits as f64 / 200_000.0;
        assert!((share - want).abs() < 0.01, "{name}: {share}, expected {want}");
    }
}

#[test]
fn the_latest_records_are_drawn_most() {
    let (records, inserted) = (10_000, 500);
    let (mut sampler, mut rng) = (Sampler::new(Dist::Latest, records, 9), Rng::new(3));
    let newest = records + inserted - 1;
    let mut hits = 0;
    for _ in 0..200_000 {
        let index = sampler.sample(&mut rng, inserted);
        assert!(index >= inserted && index <= newest, "{index}");
        hits += u64::from(newest - index < records / 10);
    }
    let share = hits as f64 / 200_000.0;
    assert!((share - 0.759).abs() < 0.01, "{share}");
    let popularity = Popularity::new(Dist::Latest, records, 9);
    assert_eq!((popularity.index_of(0), popularity.rank_of(0)), (records - 1, records - 1));
}
