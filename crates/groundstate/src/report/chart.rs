//! A chart as inline SVG: axes with ticks, lines, bars and one marked position.

use askama::Template;

const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 270.0;
const LEFT: f64 = 50.0;
const RIGHT: f64 = WIDTH - 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = HEIGHT - 42.0;

/// A range of values on an axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
}

/// A labelled position on an axis, in SVG units.
pub(super) struct Tick {
    at: f64,
    label: String,
}

/// A line through points; `class` is its colour and dash.
pub(super) struct Line {
    class: String,
    path: String,
}

/// A filled rectangle with a text shown when pointed at.
pub(super) struct Bar {
    class: &'static str,
    x: f64,
    y: f64,
    width: f64,
    height: f64,
    title: String,
}

/// A chart under construction; the template turns it into SVG.
#[derive(Template)]
#[template(path = "chart.svg")]
pub(super) struct Chart {
    description: String,
    x_label: String,
    y_label: String,
    x: Axis,
    y: Axis,
    lines: Vec<Line>,
    bars: Vec<Bar>,
    mark: Option<Tick>,
    /// Ticks of the y axis are printed without their sign.
    mirrored: bool,
}

impl Axis {
    /// From `low` to `high`; an empty range is widened so that it has a middle.
    pub(super) fn linear(low: f64, high: f64) -> Self {
        if high > low {
            return Self { low, high, logarithmic: false };
        }
        let margin = if low == 0.0 { 1.0 } else { low.abs() / 2.0 };
        Self { low: low - margin, high: low + margin, logarithmic: false }
    }

    /// Logarithmic where positive values span more than a factor of 30, else linear.
    pub(super) fn fitting(low: f64, high: f64) -> Self {
        if low > 0.0 && high / low > 30.0 {
            Self { low, high, logarithmic: true }
        } else {
            Self::linear(low, high)
        }
    }

    pub(super) fn is_logarithmic(&self) -> bool {
        self.logarithmic
    }

    /// Where `value` lies between the ends: 0 at the low end, 1 at the high end.
    pub(super) fn position(&self, value: f64) -> f64 {
        if self.logarithmic {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }

    /// The value at a position.
    pub(super) fn value(&self, position: f64) -> f64 {
        if self.logarithmic {
            self.low * (self.high / self.low).powf(position)
        } else {
            self.low + position * (self.high - self.low)
        }
    }

    /// Round values inside the range, about five of them.
    fn ticks(&self) -> Vec<f64> {
        if self.logarithmic {
            let decades = (self.high / self.low).log10();
            let factors: &[f64] = if decades < 3.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
            let stride = (decades / 6.0).ceil().max(1.0) as i32;
            let (first, last) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
            return (first..=last)
                .filter(|exponent| exponent.rem_euclid(stride) == 0)
                .flat_map(|exponent| factors.iter().map(move |factor| factor * 10_f64.powi(exponent)))
                .filter(|value| (self.low..=self.high).contains(value))
                .collect();
        }
        let rough = (self.high - self.low) / 5.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|f| f * power).into_iter().find(|&s| s >= rough * 0.999);
        let step = step.unwrap_or(power);
        let first = (self.low / step - 1e-9).ceil();
        let last = (self.high / step + 1e-9).floor();
        // Twelve bounds a range so narrow that the step vanishes beside its ends.
        (0..12).map(|i| first + f64::from(i)).take_while(|n| *n <= last).map(|n| n * step).collect()
    }
}

impl Chart {
    /// An empty chart; `description` is what a reader hears who cannot see it.
    pub(super) fn new(description: &str, x_label: &str, x: Axis, y_label: &str, y: Axis) -> Self {
        Self {
            description: description.to_owned(),
            x_label: x_label.to_owned(),
            y_label: y_label.to_owned(),
            x,
            y,
            lines: Vec::new(),
            bars: Vec::new(),
            mark: None,
            mirrored: false,
        }
    }

    /// Prints the ticks of both directions of the y axis as magnitudes.
    pub(super) fn mirrored(mut self) -> Self {
        self.mirrored = true;
        self
    }

    /// Draws a line through `points`, leaving out what is not finite.
    pub(super) fn line(&mut self, class: &str, points: impl Iterator<Item = [f64; 2]>) {
        let mut path = String::new();
        for [x, y] in points.filter(|point| point.iter().all(|value| value.is_finite())) {
            let command = if path.is_empty() { 'M' } else { 'L' };
            path += &format!("{command}{:.1} {:.1}", self.across(x), self.up(y));
        }
        self.lines.push(Line { class: class.to_owned(), path });
    }

    /// Fills the rectangle between two values of x and the two heights 0 and `y`.
    pub(super) fn bar(&mut self, class: &'static str, from: f64, to: f64, y: f64, title: String) {
        let (zero, end) = (self.up(0.0), self.up(y));
        self.bars.push(Bar {
            class,
            x: self.across(from) + 0.5,
            y: zero.min(end),
            width: (self.across(to) - self.across(from) - 1.0).max(0.5),
            height: (zero - end).abs(),
            title,
        });
    }

    /// Marks the value `x` with a vertical line, if it lies on the axis.
    pub(super) fn mark(&mut self, x: f64, label: &str) {
        if (0.0..=1.0).contains(&self.x.position(x)) {
            self.mark = Some(Tick { at: self.across(x), label: label.to_owned() });
        }
    }

    fn across(&self, x: f64) -> f64 {
        LEFT + self.x.position(x) * (RIGHT - LEFT)
    }

    fn up(&self, y: f64) -> f64 {
        BOTTOM - self.y.position(y) * (BOTTOM - TOP)
    }

    fn x_ticks(&self) -> Vec<Tick> {
        self.x.ticks().into_iter().map(|x| Tick { at: self.across(x), label: tick_label(x) }).collect()
    }

    fn y_ticks(&self) -> Vec<Tick> {
        let printed = |y: f64| tick_label(if self.mirrored { y.abs() } else { y });
        self.y.ticks().into_iter().map(|y| Tick { at: self.up(y), label: printed(y) }).collect()
    }
}

/// The shortest text for a round number: no trailing zeros, no −0, powers of ten beyond six digits.
fn tick_label(value: f64) -> String {
    if value != 0.0 && !(1e-4..1e6).contains(&value.abs()) {
        return format!("{value:.0e}");
    }
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(Axis::linear(0.0, 1.0).ticks().len(), 6);
        let labels: Vec<String> = Axis::linear(-0.31, 0.3).ticks().into_iter().map(tick_label).collect();
        assert_eq!(labels, ["-0.2", "0", "0.2"]);
        assert_eq!(Axis::fitting(0.7, 300.0).ticks(), [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0]);
    }

    #[test]
    fn an_empty_range_still_has_a_middle() {
        for value in [0.0, 3.0, -2.0] {
            assert!((Axis::linear(value, value).position(value) - 0.5).abs() < 1e-12);
        }
        // One ulp apart: no endless or empty walk.
        assert!(Axis::linear(1.0, 1.0 + f64::EPSILON).ticks().len() <= 12);
    }

    #[test]
    fn position_and_value_are_inverse() {
        for axis in [Axis::linear(-3.0, 5.0), Axis::fitting(0.1, 90.0)] {
            for position in [0.0, 0.25, 1.0] {
                assert!((axis.position(axis.value(position)) - position).abs() < 1e-12);
            }
        }
    }
}
