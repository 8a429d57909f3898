use super::*;

// Tries that are let through at one moment.
fn taken(budget: &Budget, now: Nanos) -> i64 {
    (0..).take_while(|_| budget.take(now)).count() as i64
}

#[test]
fn a_store_that_serves_nothing_is_tried_again_rarely() {
    let budget = Budget::new();
    assert_eq!(taken(&budget, 1), RETRY_TRIES_MAX + 1, "all that was saved, and one to see");
    assert_eq!(taken(&budget, RETRY_FLOOR_NS), 0);
    // From then on one in each span, however many ask.
    let asked = (1..=1_000).map(|at| taken(&budget, 1 + at * RETRY_FLOOR_NS / 10));
    assert_eq!(asked.sum::<i64>(), 100);
}

#[test]
fn what_is_served_earns_tries_up_to_a_bound() {
    let budget = Budget::new();
    taken(&budget, 1);
    let served = 10 * TRY / RETRY_EARNED_MILLI;
    (0..served).for_each(|_| budget.served(false));
    assert_eq!(taken(&budget, 2), 10);
    (0..1_000_000).for_each(|_| budget.served(false));
    assert_eq!(taken(&budget, 2), RETRY_TRIES_MAX);
}

// Operations that each fail with probability `fails` (in a thousand) at each try, and are tried
// again as the budget allows: requests for each operation.
fn amplification(fails: u64) -> f64 {
    const OPERATIONS: u64 = 100_000;
    let budget = Budget::new();
    let (mut requests, mut waiting) = (0_u64, 0_u64);
    let mut x = 7_u64;
    let mut fails = || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 33) % 1_000 < fails
    };
    for operation in 0..OPERATIONS {
        requests += 1;
        match fails() {
            true => waiting += 1,
            false => budget.served(false),
        }
        // A thousand come in the span in which one is let through anyway.
        while waiting > 0 && budget.take(1 + operation * RETRY_FLOOR_NS / 1_000) {
            requests += 1;
            if !fails() {
                waiting -= 1;
                budget.served(true);
            }
        }
    }
    requests as f64 / OPERATIONS as f64
}

#[test]
fn retries_stay_in_proportion_to_what_is_served() {
    let few = amplification(100);
    assert!((1.1..1.13).contains(&few), "a tenth fails, and all of it is tried again: {few}");
    // Without a bound these were 2 and 10.
    let [many, most] = [500, 900].map(amplification);
    assert!((1.2..1.5).contains(&many) && (1.0..1.1).contains(&most), "{many} {most}");
    let budget = Budget::new();
    taken(&budget, 1);
    budget.served(true);
    budget.served(true);
    assert_eq!(taken(&budget, 2), 3, "those that came through bring others with them");
}
