//! Lines over two axes as SVG. Colours are classes, so that the page chooses them.

use std::fmt::Write;

/// The picture, and the frame of the lines inside it.
const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 28.0;

/// Steps of a linear axis, about.
const STEPS: f64 = 4.0;

/// What lies along a side.
pub(super) struct Axis {
    min: f64,
    max: f64,
    log: bool,
    /// Values with what stands at them.
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From 0 to a round number that is not below `max`.
    pub(super) fn linear(max: f64) -> Self {
        let step = round_up(max.max(f64::MIN_POSITIVE) / STEPS);
        let steps = (max / step).ceil().max(1.0);
        let ticks = (0..=steps as u32).map(|i| f64::from(i) * step);
        let ticks = ticks.map(|value| (value, shown(value))).collect();
        Self { min: 0.0, max: steps * step, log: false, ticks }
    }

    /// Powers of ten around what lies between two values above 0.
    pub(super) fn log(min: f64, max: f64) -> Self {
        let (low, high) = (min.log10().floor() as i32, max.log10().ceil() as i32);
        let high = high.max(low + 1);
        let ticks = (low..=high).map(|power| 10_f64.powi(power));
        let ticks = ticks.map(|value| (value, shown(value))).collect();
        Self { min: 10_f64.powi(low), max: 10_f64.powi(high), log: true, ticks }
    }

    /// The tails 1, 0.1, 0.01 of a distribution, by their quantiles.
    pub(super) fn tails(decades: i32) -> Self {
        let name = |decade: i32| match decade {
            0 => "0".to_owned(),
            1 => "90%".to_owned(),
            2 => "99%".to_owned(),
            more => format!("99.{}%", "9".repeat(more as usize - 2)),
        };
        let ticks = (0..=decades).map(|decade| (10_f64.powi(decade), name(decade))).collect();
        Self { min: 1.0, max: 10_f64.powi(decades), log: true, ticks }
    }

    /// Where a value lies, from 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let place = if self.log {
            (value.max(self.min) / self.min).log10() / (self.max / self.min).log10()
        } else {
            (value - self.min) / (self.max - self.min)
        };
        place.clamp(0.0, 1.0)
    }
}

/// A line with its name.
pub(super) struct Line<'a> {
    pub(super) name: &'a str,
    pub(super) points: Vec<(f64, f64)>,
}

/// The picture of lines. Names and title are text that needs no escape.
pub(super) fn chart(title: &str, (x, y): (&Axis, &Axis), lines: &[Line<'_>]) -> String {
    let mut out = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">\n\
         <text class=\"title\" x=\"{LEFT}\" y=\"14\">{title}</text>\n"
    );
    let at = |(a, b): (f64, f64)| {
        let across = LEFT + x.place(a) * (WIDTH - LEFT - RIGHT);
        (across, HEIGHT - BOTTOM - y.place(b) * (HEIGHT - TOP - BOTTOM))
    };
    for (value, text) in &y.ticks {
        let (from, height) = at((x.min, *value));
        let to = WIDTH - RIGHT;
        line(&mut out, "grid", &[(from, height), (to, height)]);
        label(&mut out, "end", (LEFT - 6.0, height + 4.0), text);
    }
    for (value, text) in &x.ticks {
        let (across, bottom) = at((*value, y.min));
        line(&mut out, "grid", &[(across, bottom), (across, bottom + 4.0)]);
        label(&mut out, "middle", (across, bottom + 16.0), text);
    }
    for (number, Line { name, points }) in lines.iter().enumerate() {
        let places: Vec<(f64, f64)> = points.iter().map(|point| at(*point)).collect();
        line(&mut out, &format!("line line-{number}"), &places);
        // One point makes no line.
        if let [(across, height)] = places[..] {
            let class = format!("dot-{number}");
            out += &format!(
                "<circle class=\"{class}\" cx=\"{across:.1}\" cy=\"{height:.1}\" r=\"2\"/>\n"
            );
        }
        let across = WIDTH - RIGHT - 70.0 * (lines.len() - 1 - number) as f64;
        let class = format!("name dot-{number}");
        out += &format!("<text class=\"{class}\" x=\"{across}\" y=\"14\">{name}</text>\n");
    }
    out + "</svg>\n"
}

fn line(out: &mut String, class: &str, places: &[(f64, f64)]) {
    let mut points = String::new();
    for (across, height) in places {
        let _infallible = write!(points, "{across:.1},{height:.1} ");
    }
    *out += &format!("<polyline class=\"{class}\" points=\"{}\"/>\n", points.trim_end());
}

fn label(out: &mut String, anchor: &str, (across, height): (f64, f64), text: &str) {
    *out += &format!(
        "<text text-anchor=\"{anchor}\" x=\"{across:.1}\" y=\"{height:.1}\">{text}</text>\n"
    );
}

/// The next of 1, 2 and 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let times = [1.0, 2.0, 5.0].into_iter().find(|times| times * power >= value * 0.999_999);
    times.unwrap_or(10.0) * power
}

/// A number in a few letters.
pub(super) fn shown(value: f64) -> String {
    for (size, unit) in [(1e9, "G"), (1e6, "M"), (1e3, "k")] {
        if value >= size {
            return format!("{}{unit}", trimmed(value / size));
        }
    }
    trimmed(value)
}

fn trimmed(value: f64) -> String {
    let digits = format!("{value:.3}");
    digits.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
#[path = "chart_tests.rs"]
mod tests;
