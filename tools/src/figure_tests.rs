use super::Figure;

#[test]
fn the_median_of_an_odd_number_is_its_middle() {
    let figure = Figure::of(vec![9.0, 1.0, 2.0]).unwrap();
    assert_eq!(figure, Figure { min: 1.0, median: 2.0, max: 9.0 });
    assert_eq!(Figure::of(vec![4.0, 1.0]).unwrap().median, 2.5);
    assert_eq!(Figure::of(Vec::new()), None);
}

#[test]
fn a_ratio_spans_what_any_two_rounds_give() {
    let (one, two) = (Figure::of(vec![10.0, 20.0, 40.0]), Figure::of(vec![5.0, 10.0]));
    let ratio = one.unwrap().over(two.unwrap());
    assert_eq!(ratio, Figure { min: 1.0, median: 20.0 / 7.5, max: 8.0 });
    let none = Figure { min: 0.0, median: 0.0, max: 0.0 };
    assert_eq!(none.over(none).median, 1.0);
}
