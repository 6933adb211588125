//! Figures by name, and how people read them.

use std::collections::BTreeMap;

use serde::Serialize;

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    PerSecond,
    Seconds,
    Bytes,
    Count,
}

/// A number with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Figure {
    pub(crate) value: f64,
    pub(crate) unit: Unit,
}

impl Figure {
    pub(crate) const fn per_second(value: f64) -> Self {
        Self { value, unit: Unit::PerSecond }
    }

    pub(crate) const fn seconds(value: f64) -> Self {
        Self { value, unit: Unit::Seconds }
    }

    pub(crate) const fn bytes(value: f64) -> Self {
        Self { value, unit: Unit::Bytes }
    }

    pub(crate) const fn count(value: f64) -> Self {
        Self { value, unit: Unit::Count }
    }

    /// As a person reads it.
    pub(crate) fn shown(self) -> String {
        match self.unit {
            Unit::PerSecond => format!("{}/s", count(self.value)),
            Unit::Seconds => seconds(self.value),
            Unit::Bytes => bytes(self.value),
            Unit::Count => count(self.value),
        }
    }
}

/// What one run measured.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Figures(BTreeMap<String, Figure>);

impl Figures {
    pub(crate) fn get(&self, name: &str) -> Option<Figure> {
        self.0.get(name).copied()
    }

    pub(crate) fn put(&mut self, name: &str, figure: Figure) {
        self.0.insert(name.to_owned(), figure);
    }

    pub(crate) fn per_second(&mut self, name: &str, value: f64) {
        self.put(name, Figure::per_second(value));
    }

    pub(crate) fn seconds(&mut self, name: &str, value: f64) {
        self.put(name, Figure::seconds(value));
    }

    pub(crate) fn bytes(&mut self, name: &str, value: f64) {
        self.put(name, Figure::bytes(value));
    }

    pub(crate) fn count(&mut self, name: &str, value: f64) {
        self.put(name, Figure::count(value));
    }
}

/// 1234567 → `1,234,567`; below ten with two digits behind the point.
pub(crate) fn count(value: f64) -> String {
    if value.abs() < 10.0 && value.fract() != 0.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("-{text}") } else { text }
}

pub(crate) fn seconds(value: f64) -> String {
    let (number, unit) = match value.abs() {
        v if v >= 1.0 => (value, "s"),
        v if v >= 1e-3 => (value * 1e3, "ms"),
        _ => (value * 1e6, "µs"),
    };
    format!("{} {unit}", three(number))
}

pub(crate) fn bytes(value: f64) -> String {
    let (number, unit) = match value.abs() {
        v if v >= 1e9 => (value / 1e9, "GB"),
        v if v >= 1e6 => (value / 1e6, "MB"),
        v if v >= 1e4 => (value / 1e3, "kB"),
        _ => (value, "bytes"),
    };
    format!("{} {unit}", three(number))
}

/// A ratio or another plain number, with three digits that count.
pub(crate) fn three(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        v if v >= 99.95 => count(value),
        v if v >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The one in the middle; of an even number the lower one.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied()
}

/// Of none: 0.
pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!([0.0, 3.25, 999.4, 1234.0, 1_234_567.8].map(count), ["0", "3.25", "999", "1,234", "1,234,568"]);
        assert_eq!([0.000_012_34, 0.0123, 1.5].map(seconds), ["12.3 µs", "12.3 ms", "1.50 s"]);
        assert_eq!([381.0, 20_400.0, 20_400_000.0].map(bytes), ["381 bytes", "20.4 kB", "20.4 MB"]);
        assert_eq!([0.254, 12.34, 1234.0].map(three), ["0.25", "12.3", "1,234"]);
    }

    #[test]
    fn the_median_is_one_of_the_values() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(1.0));
        assert_eq!(median(&[]), None);
    }
}
