//! The rows of the report: how what was measured came out beside its yardstick and what is aimed at.

mod catalogue;

use serde::Serialize;

use crate::bench::{Bench, Ended, Outcome};
use crate::figures::{Figure, Unit, bytes, median, seconds, three};

/// What is aimed at.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// The figure is so many times the yardstick at the least.
    AtLeast(f64),
    /// The figure is so many times the yardstick at the most.
    AtMost(f64),
    /// The figure is so many times the yardstick at the most, and so many seconds more.
    AtMostAnd(f64, f64),
    /// The figure itself is no larger.
    Within(Figure),
    /// For information.
    None,
}

/// A row before anything was measured.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    what: String,
    figure: String,
    /// What people call it, and its figure.
    yardstick: Option<(String, String)>,
    target: Target,
    /// The step that gives it.
    step: String,
}

/// Several runs' values of one thing.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

/// How a row came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Met,
    Missed,
    ForInformation,
    /// Something is not here.
    NotMeasured(String),
    /// A wrong answer: no figure.
    Failed(String),
}

/// A row of the report.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Assessed {
    pub(crate) what: String,
    pub(crate) unit: Option<Unit>,
    pub(crate) figure: Option<Spread>,
    pub(crate) yardstick_name: Option<String>,
    pub(crate) yardstick: Option<Spread>,
    pub(crate) yardstick_unit: Option<Unit>,
    pub(crate) ratio: Option<Spread>,
    pub(crate) target: String,
    /// By which factor the target was passed; below 1 it was missed by so much.
    pub(crate) margin: Option<f64>,
    pub(crate) verdict: Verdict,
}

impl Spread {
    fn of(values: &[f64]) -> Option<Self> {
        let median = median(values)?;
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Some(Self { median, least, most })
    }
}

impl Target {
    fn shown(self) -> String {
        match self {
            Self::AtLeast(times) => format!("≥ {} ×", three(times)),
            Self::AtMost(times) => format!("≤ {} ×", three(times)),
            Self::AtMostAnd(times, more) => format!("≤ {} × + {}", three(times), seconds(more)),
            Self::Within(figure) => format!("≤ {}", figure.shown()),
            Self::None => "–".to_owned(),
        }
    }

    /// By which factor it is passed.
    fn margin(self, figure: f64, yardstick: Option<f64>) -> Option<f64> {
        // Nothing at all is as far within a limit as can be shown.
        let within = |limit: f64, figure: f64| match figure {
            figure if figure > 0.0 => limit / figure,
            _ => 10.0,
        };
        match self {
            Self::AtLeast(times) => yardstick.map(|yardstick| figure / (yardstick * times)),
            Self::AtMost(times) => yardstick.map(|yardstick| within(yardstick * times, figure)),
            Self::AtMostAnd(times, more) => yardstick.map(|yardstick| within(yardstick * times + more, figure)),
            Self::Within(limit) => Some(within(limit.value, figure)),
            Self::None => None,
        }
    }
}

impl Row {
    fn new(step: impl Into<String>, what: impl Into<String>, figure: impl Into<String>, target: Target) -> Self {
        Self { what: what.into(), figure: figure.into(), yardstick: None, target, step: step.into() }
    }

    fn beside(mut self, name: impl Into<String>, figure: impl Into<String>) -> Self {
        self.yardstick = Some((name.into(), figure.into()));
        self
    }

    /// What the runs say of it; only quick ones may leave a figure out.
    fn assess(&self, runs: &[Outcome], quick: bool) -> Assessed {
        let of = |name: &str| runs.iter().filter_map(|run| run.figures.get(name)).collect::<Vec<_>>();
        let values = |figures: &[Figure]| figures.iter().map(|figure| figure.value).collect::<Vec<_>>();
        let figures = of(&self.figure);
        let yardsticks = self.yardstick.as_ref().map(|(_, name)| of(name)).unwrap_or_default();
        let both = runs.iter().filter_map(|run| {
            let (_, yardstick) = self.yardstick.as_ref()?;
            Some((run.figures.get(&self.figure)?.value, run.figures.get(yardstick)?.value))
        });
        let ratios: Vec<f64> = both.clone().map(|(figure, yardstick)| figure / yardstick).collect();
        let margins: Vec<f64> = match self.yardstick {
            Some(_) => both.filter_map(|(figure, yardstick)| self.target.margin(figure, Some(yardstick))).collect(),
            None => figures.iter().filter_map(|figure| self.target.margin(figure.value, None)).collect(),
        };
        let margin = median(&margins);
        let unit = figures.first().map(|figure| figure.unit);
        let verdict = match (self.failure(runs), figures.is_empty(), margin) {
            (Some(failed @ Verdict::Failed(_)), ..) | (Some(failed), true, _) => failed,
            (_, true, _) if quick => Verdict::NotMeasured(LEFT_OUT.to_owned()),
            (_, true, _) => Verdict::Failed("its step gave no figure".to_owned()),
            (.., Some(margin)) if margin >= 1.0 => Verdict::Met,
            (.., Some(_)) => Verdict::Missed,
            _ if matches!(self.target, Target::None) => Verdict::ForInformation,
            _ => Verdict::NotMeasured("without its yardstick".to_owned()),
        };
        Assessed {
            what: self.what.clone(),
            unit,
            figure: Spread::of(&values(&figures)),
            yardstick_name: self.yardstick.as_ref().map(|(name, _)| name.clone()),
            yardstick: Spread::of(&values(&yardsticks)),
            yardstick_unit: yardsticks.first().map(|figure| figure.unit),
            ratio: Spread::of(&ratios),
            target: self.target.shown(),
            margin,
            verdict,
        }
    }

    /// Why the step gave nothing in one of the runs.
    fn failure(&self, runs: &[Outcome]) -> Option<Verdict> {
        let ends = runs.iter().flat_map(|run| &run.steps).filter(|(name, _)| *name == self.step);
        let mut left_out = None;
        for (_, ended) in ends {
            match ended {
                Ended::Measured => {}
                Ended::LeftOut(why) => left_out = Some(Verdict::NotMeasured(why.clone())),
                Ended::Failed(why) => return Some(Verdict::Failed(why.clone())),
            }
        }
        left_out
    }
}

/// Every row, as the runs say.
pub(crate) fn assess(bench: &Bench, runs: &[Outcome]) -> Vec<Assessed> {
    let rows = catalogue::rows(bench);
    // A quick run leaves some out.
    let is_part = |row: &&Row| runs.iter().flat_map(|run| &run.steps).any(|(name, _)| *name == row.step);
    let assessed = rows.iter().filter(is_part).map(|row| row.assess(runs, bench.plan.quick));
    assessed.filter(|row| row.verdict != Verdict::NotMeasured(LEFT_OUT.to_owned())).collect()
}

/// Why a row has no figure although its step was done.
const LEFT_OUT: &str = "left out of this run";

impl Assessed {
    /// Whether somebody has to look at it.
    pub(crate) const fn failed(&self) -> bool {
        matches!(self.verdict, Verdict::Failed(_))
    }

    pub(crate) fn figure_shown(&self) -> String {
        shown(self.figure, self.unit)
    }

    pub(crate) fn yardstick_shown(&self) -> String {
        shown(self.yardstick, self.yardstick_unit)
    }
}

fn shown(spread: Option<Spread>, unit: Option<Unit>) -> String {
    let (Some(spread), Some(unit)) = (spread, unit) else { return "–".to_owned() };
    let middle = Figure { value: spread.median, unit }.shown();
    if spread.least == spread.most {
        return middle;
    }
    let bound = |value: f64| match unit {
        Unit::Bytes => bytes(value),
        unit => Figure { value, unit }.shown(),
    };
    format!("{middle} ({} – {})", bound(spread.least), bound(spread.most))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::figures::Figures;

    fn run(figures: &[(&str, f64)], steps: &[(&str, Ended)]) -> Outcome {
        let mut kept = Figures::default();
        for (name, value) in figures {
            kept.seconds(name, *value);
        }
        let steps = steps.iter().map(|(name, ended)| ((*name).to_owned(), ended.clone())).collect();
        Outcome { figures: kept, loads: Vec::new(), steps }
    }

    fn row(target: Target) -> Row {
        Row::new("a step", "a row", "ours", target).beside("theirs", "theirs")
    }

    #[test]
    fn a_target_is_judged_by_the_run_in_the_middle() {
        let runs =
            [(9.0, 2.0), (4.0, 2.0), (5.0, 2.0)].map(|(ours, theirs)| run(&[("ours", ours), ("theirs", theirs)], &[]));
        let verdict = |target| row(target).assess(&runs, false).verdict;
        assert_eq!(verdict(Target::AtLeast(2.5)), Verdict::Met);
        assert_eq!(verdict(Target::AtLeast(2.6)), Verdict::Missed);
        assert_eq!(verdict(Target::AtMost(2.5)), Verdict::Met);
        assert_eq!(verdict(Target::AtMost(2.4)), Verdict::Missed);
        assert_eq!(verdict(Target::AtMostAnd(2.0, 1.0)), Verdict::Met);
        assert_eq!(verdict(Target::AtMostAnd(2.0, 0.9)), Verdict::Missed);
        assert_eq!(verdict(Target::None), Verdict::ForInformation);
        let assessed = row(Target::None).assess(&runs, false);
        assert_eq!(assessed.figure_shown(), "5.00 s (4.00 s – 9.00 s)");
        assert_eq!(assessed.ratio.unwrap().median, 2.5);
        let alone = Row::new("a step", "a row", "ours", Target::Within(Figure::seconds(5.0)));
        assert_eq!(alone.assess(&runs, false).verdict, Verdict::Met);
        let nothing = Row::new("a step", "a row", "none", Target::Within(Figure::seconds(0.0)));
        assert_eq!(nothing.assess(&[run(&[("none", 0.0)], &[])], false).verdict, Verdict::Met);
    }

    #[test]
    fn one_failed_run_is_no_figure_and_what_is_not_here_is_no_failure() {
        let good = || run(&[("ours", 1.0), ("theirs", 1.0)], &[("a step", Ended::Measured)]);
        let failed = run(&[], &[("a step", Ended::Failed("a wrong answer".to_owned()))]);
        let assessed = row(Target::AtLeast(1.0)).assess(&[good(), failed], false);
        assert_eq!(assessed.verdict, Verdict::Failed("a wrong answer".to_owned()));
        assert!(assessed.failed());
        let left_out = run(&[], &[("a step", Ended::LeftOut("not installed".to_owned()))]);
        let assessed = row(Target::AtLeast(1.0)).assess(&[left_out], false);
        assert_eq!(assessed.verdict, Verdict::NotMeasured("not installed".to_owned()));
        assert!(!assessed.failed());
        let without = run(&[("ours", 1.0)], &[("a step", Ended::Measured)]);
        let assessed = row(Target::AtLeast(1.0)).assess(&[without], false);
        assert_eq!(assessed.verdict, Verdict::NotMeasured("without its yardstick".to_owned()));
        let silent = || run(&[], &[("a step", Ended::Measured)]);
        assert!(row(Target::AtLeast(1.0)).assess(&[silent()], false).failed());
        assert!(!row(Target::AtLeast(1.0)).assess(&[silent()], true).failed());
    }
}
