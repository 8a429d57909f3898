use super::{Axis, Line, chart, shown};

#[test]
fn axes_end_at_round_numbers() {
    let ticks =
        |axis: &Axis| -> Vec<String> { axis.ticks.iter().map(|(_, text)| text.clone()).collect() };
    assert_eq!(ticks(&Axis::linear(9.5)), ["0", "5", "10"]);
    assert_eq!(ticks(&Axis::linear(61_000.0)), ["0", "20k", "40k", "60k", "80k"]);
    assert_eq!(ticks(&Axis::linear(0.0)).len(), 2);
    assert_eq!(ticks(&Axis::log(3.0, 1400.0)), ["1", "10", "100", "1k", "10k"]);
    assert_eq!(ticks(&Axis::tails(3)), ["0", "90%", "99%", "99.9%"]);
}

#[test]
fn numbers_are_short() {
    for (value, text) in [(0.0, "0"), (0.25, "0.25"), (1500.0, "1.5k"), (2e6, "2M"), (3e9, "3G")] {
        assert_eq!(shown(value), text);
    }
}

#[test]
fn a_line_goes_through_its_points() {
    let (x, y) = (Axis::linear(10.0), Axis::linear(4.0));
    let lines = [Line { name: "one", points: vec![(0.0, 0.0), (10.0, 4.0)] }];
    let svg = chart("rate", (&x, &y), &lines);
    assert!(svg.contains("class=\"line line-0\" points=\"64.0,192.0 468.0,24.0\""), "{svg}");
    assert!(roxmltree::Document::parse(&svg).is_ok(), "{svg}");
}
