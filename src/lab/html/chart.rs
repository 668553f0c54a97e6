//! Drawings as inline SVG: axes, lines, and stacked bars. Colours come from the page's style, so
//! that they follow its light and dark.

use std::fmt::Write as _;

/// An axis.
#[derive(Clone, Debug)]
pub struct Axis {
    pub from: f64,
    pub to: f64,
    pub is_log: bool,
    /// Where lines are drawn across, and what stands beside them.
    pub ticks: Vec<(f64, String)>,
    pub label: String,
}

impl Axis {
    /// A logarithmic axis of nanoseconds, around these values: a tick for each power of ten.
    pub fn nanos(values: impl Iterator<Item = u64>, label: &str) -> Axis {
        let (mut least, mut most) = (f64::MAX, 1.0f64);
        for ns in values.filter(|ns| *ns > 0) {
            least = least.min(ns as f64);
            most = most.max(ns as f64);
        }
        let from = if least == f64::MAX { 1.0 } else { least };
        let from = 10f64.powf((from.log10() * 2.0).floor() / 2.0);
        let to = 10f64
            .powf((most.log10() * 2.0).ceil() / 2.0)
            .max(from * 10.0);
        let mut ticks = Vec::new();
        for power in 0..12 {
            let value = 10f64.powi(power);
            if value >= from * 0.999 && value <= to * 1.001 {
                ticks.push((value, round_nanos(power)));
            }
        }
        Axis {
            from,
            to,
            is_log: true,
            ticks,
            label: label.into(),
        }
    }

    /// An axis of quantiles, which get as much room for each nine.
    pub fn quantiles(most: f64) -> Axis {
        let names = [
            "0 %",
            "90 %",
            "99 %",
            "99.9 %",
            "99.99 %",
            "99.999 %",
            "99.9999 %",
        ];
        let to = (1.0 / (1.0 - most.min(0.999_999_99))).max(100.0);
        let ticks = (0..)
            .map(|power| 10f64.powi(power))
            .zip(names)
            .filter(|(at, _)| *at <= to * 1.001)
            .map(|(at, name)| (at, name.to_string()))
            .collect();
        Axis {
            from: 1.0,
            to,
            is_log: true,
            ticks,
            label: "share of messages that were at least this fast".into(),
        }
    }

    /// A linear axis of seconds.
    pub fn seconds(to: f64, label: &str) -> Axis {
        let to = to.max(0.001);
        let step = nice(to / 8.0);
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        let ticks = (0..)
            .map(|n| f64::from(n) * step)
            .take_while(|at| *at <= to * 1.001)
            .map(|at| (at, format!("{at:.decimals$} s")))
            .collect();
        Axis {
            from: 0.0,
            to,
            is_log: false,
            ticks,
            label: label.into(),
        }
    }

    /// A logarithmic axis of rates.
    pub fn rates(least: f64, most: f64) -> Axis {
        let from = least / 1.15;
        let to = (most * 1.15).max(from * 2.0);
        let mut ticks = Vec::new();
        for power in 0..10 {
            for digit in [1.0, 2.0, 5.0] {
                let value = digit * 10f64.powi(power);
                if value >= from && value <= to {
                    ticks.push((value, crate::lab::units::Rate(value).to_string()));
                }
            }
        }
        Axis {
            from,
            to,
            is_log: true,
            ticks,
            label: "offered load, messages a second".into(),
        }
    }

    /// Where a value lies, 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let place = if self.is_log {
            (value.max(self.from * 1e-9) / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        place.clamp(0.0, 1.0)
    }
}

fn round_nanos(power: i32) -> String {
    let (unit, digits) = match power {
        0..3 => ("ns", power),
        3..6 => ("µs", power - 3),
        6..9 => ("ms", power - 6),
        _ => ("s", power - 9),
    };
    format!("{} {unit}", 10i64.pow(digits as u32))
}

/// 1, 2 or 5 times a power of ten, the next one above.
fn nice(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|step| step * power >= value);
    step.unwrap_or(10.0) * power
}

const WIDTH: f64 = 960.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;

/// A drawing with two axes.
pub struct Plot {
    x: Axis,
    y: Axis,
    height: f64,
    body: String,
}

impl Plot {
    pub fn new(x: Axis, y: Axis, height: f64) -> Plot {
        Plot {
            x,
            y,
            height,
            body: String::new(),
        }
    }

    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let right = LEFT + self.x.place(x) * (WIDTH - LEFT - RIGHT);
        let down = TOP + (1.0 - self.y.place(y)) * (self.height - TOP - BOTTOM);
        (right, down)
    }

    /// A line through these points.
    pub fn line(&mut self, class: &str, points: &[(f64, f64)]) {
        if points.len() < 2 {
            return;
        }
        let mut path = String::new();
        for (index, (x, y)) in points.iter().enumerate() {
            let (x, y) = self.at(*x, *y);
            let _ = write!(path, "{}{x:.1} {y:.1}", if index == 0 { 'M' } else { 'L' });
        }
        let _ = writeln!(self.body, "<path class=\"line {class}\" d=\"{path}\"/>");
    }

    /// A surface between two lines of points.
    pub fn band(&mut self, class: &str, low: &[(f64, f64)], high: &[(f64, f64)]) {
        let mut path = String::new();
        for (index, (x, y)) in high.iter().chain(low.iter().rev()).enumerate() {
            let (x, y) = self.at(*x, *y);
            let _ = write!(path, "{}{x:.1} {y:.1}", if index == 0 { 'M' } else { 'L' });
        }
        let _ = writeln!(self.body, "<path class=\"band {class}\" d=\"{path}Z\"/>");
    }

    /// A point, with what a pointer that rests on it is told.
    pub fn dot(&mut self, class: &str, x: f64, y: f64, title: &str) {
        let (x, y) = self.at(x, y);
        let title = super::escape(title);
        let _ = writeln!(
            self.body,
            "<circle class=\"dot {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\"><title>{title}</title></circle>"
        );
    }

    /// A line from bottom to top, with a word beside it.
    pub fn mark(&mut self, class: &str, x: f64, text: &str) {
        let (right, _) = self.at(x, self.y.from);
        let (top, bottom) = (TOP, self.height - BOTTOM);
        let (anchor, shift) = match right > WIDTH * 0.75 {
            true => ("end", -6.0),
            false => ("start", 6.0),
        };
        let _ = writeln!(
            self.body,
            "<line class=\"mark {class}\" x1=\"{right:.1}\" x2=\"{right:.1}\" y1=\"{top}\" y2=\"{bottom}\"/>\
             <text class=\"mark {class}\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
            right + shift,
            top + 12.0,
            super::escape(text)
        );
    }

    /// The whole.
    pub fn svg(&self, title: &str) -> String {
        let (bottom, right) = (self.height - BOTTOM, WIDTH - RIGHT);
        let mut out = format!(
            "<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"{}\">\n",
            self.height,
            super::escape(title)
        );
        for (value, name) in &self.y.ticks {
            let (_, y) = self.at(self.x.from, *value);
            let _ = writeln!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
                LEFT - 8.0,
                y + 4.0
            );
        }
        for (value, name) in &self.x.ticks {
            let (x, _) = self.at(*value, self.y.from);
            let anchor = match x {
                x if x < LEFT + 12.0 => "start",
                x if x > right - 24.0 => "end",
                _ => "middle",
            };
            let _ = writeln!(
                out,
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\
                 <text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{name}</text>",
                bottom + 17.0
            );
        }
        let _ = writeln!(
            out,
            "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{bottom}\" y2=\"{bottom}\"/>\
             <text class=\"label\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            (LEFT + right) / 2.0,
            self.height - 6.0,
            self.x.label
        );
        if !self.y.label.is_empty() {
            let middle = (TOP + bottom) / 2.0;
            let _ = writeln!(
                out,
                "<text class=\"label\" transform=\"translate(12 {middle:.1}) rotate(-90)\" \
                 text-anchor=\"middle\">{}</text>",
                self.y.label
            );
        }
        out.push_str(&self.body);
        out.push_str("</svg>\n");
        out
    }
}

/// A bar of parts, each with a class and a share of the whole.
pub fn bar(parts: &[(String, f64, String)]) -> String {
    let sum: f64 = parts.iter().map(|(_, share, _)| share).sum();
    let mut out = format!(
        "<svg class=\"bar\" viewBox=\"0 0 {WIDTH} 30\" preserveAspectRatio=\"none\" role=\"img\">"
    );
    let mut x = 0.0;
    for (name, share, title) in parts {
        let width = share / sum.max(1e-9) * WIDTH;
        let _ = write!(
            out,
            "<rect class=\"fill-{name}\" x=\"{x:.2}\" y=\"0\" width=\"{width:.2}\" height=\"30\">\
             <title>{}</title></rect>",
            super::escape(title)
        );
        x += width;
    }
    out.push_str("</svg>");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_hold_their_values() {
        let axis = Axis::nanos([1_500, 2_000_000].into_iter(), "");
        assert!(axis.from <= 1_500.0 && axis.to >= 2_000_000.0);
        let names: Vec<&str> = axis.ticks.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["1 µs", "10 µs", "100 µs", "1 ms"]);
        assert_eq!(Axis::quantiles(0.999).ticks.len(), 4);
        assert_eq!(Axis::seconds(60.0, "").ticks[1].1, "10 s");
        assert_eq!(Axis::seconds(0.5, "").ticks[1].1, "0.1 s");
        // Nothing at all is an axis too.
        assert!(Axis::nanos([].into_iter(), "").to > 1.0);
    }
}
