//! Weather that is made up, but the same all day.

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use serde::Serialize;

/// The weather of one day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// The day, as RFC 3339 writes it.
    pub date: Date,
    /// Degrees Celsius, from -20 to 54.
    pub temperature_c: i32,
    /// The same in degrees Fahrenheit.
    pub temperature_f: i32,
    /// How that feels.
    pub summary: &'static str,
}

const SUMMARIES: [&str; 10] =
    ["Freezing", "Bracing", "Chilly", "Cool", "Mild", "Warm", "Balmy", "Hot", "Sweltering", "Scorching"];

const COLDEST: i32 = -20;
const DEGREES: i32 = 75;

/// The forecasts for the `days` after `today`; fewer at the end of the calendar.
pub fn forecasts(today: Date, days: usize) -> Vec<Forecast> {
    today.series(1.day()).skip(1).take(days).map(Forecast::of).collect()
}

/// Today in UTC.
#[expect(clippy::disallowed_methods, reason = "the only clock of the example")]
pub(crate) fn today() -> Date {
    Timestamp::now().to_zoned_datetime(TimeZone::UTC).date()
}

impl Forecast {
    fn of(date: Date) -> Self {
        let day = i32::from(date.year()) * 366 + i32::from(date.day_of_year());
        // A step that shares no factor with the number of degrees jumps through all of them.
        let degrees = (day * 29).rem_euclid(DEGREES);
        let temperature_c = COLDEST + degrees;
        let summary = usize::try_from(degrees * 10 / DEGREES).ok().and_then(|at| SUMMARIES.get(at));
        Self { date, temperature_c, temperature_f: 32 + temperature_c * 9 / 5, summary: summary.unwrap_or(&"Mild") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forecasts_begin_tomorrow_and_go_over_the_end_of_a_year() {
        let dates: Vec<String> =
            forecasts(Date::constant(2024, 12, 29), 5).iter().map(|forecast| forecast.date.to_string()).collect();
        assert_eq!(dates, ["2024-12-30", "2024-12-31", "2025-01-01", "2025-01-02", "2025-01-03"]);
        assert_eq!(forecasts(Date::MAX, 5), []);
    }

    #[test]
    fn a_day_has_one_weather_and_every_kind_comes_along() {
        let year = forecasts(Date::constant(2026, 1, 1), 365);
        assert_eq!(year, forecasts(Date::constant(2026, 1, 1), 365));
        for summary in SUMMARIES {
            assert!(year.iter().any(|forecast| forecast.summary == summary), "{summary}");
        }
        for forecast in year.iter().chain(&forecasts(Date::MIN, 3)) {
            assert!((COLDEST..COLDEST + DEGREES).contains(&forecast.temperature_c));
            assert!((-4..=129).contains(&forecast.temperature_f));
        }
    }

    #[test]
    fn on_the_wire_it_is_what_the_tutorial_has() {
        let forecast = Forecast::of(Date::constant(2026, 11, 25));
        let json = serde_json::to_value(&forecast).unwrap_or_default();
        let names: Vec<&str> = json.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["date", "summary", "temperatureC", "temperatureF"]);
        assert_eq!(json["date"], "2026-11-25");
    }
}
