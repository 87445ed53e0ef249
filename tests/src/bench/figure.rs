//! Figures: one measured number beside its yardstick, its goal and whether it was met; and the
//! samples of several rounds, of which the median counts.

use std::collections::BTreeMap;

use serde::Serialize;

/// One line of the report.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    pub name: String,
    pub value: f64,
    pub unit: &'static str,
    /// What it is held against, taken within seconds of it in the same folder.
    pub yardstick: Option<String>,
    pub yardstick_value: Option<f64>,
    /// Value through yardstick, the median of the rounds.
    pub ratio: Option<f64>,
    pub goal: Option<String>,
    pub met: Option<bool>,
}

/// What a figure has to be.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    /// Reported only.
    None,
    /// Value through yardstick.
    RatioAtLeast(f64),
    RatioAtMost(f64),
    ValueAtMost(f64),
}

impl Figure {
    /// A value that stands for itself.
    #[must_use]
    pub fn plain(name: impl Into<String>, value: f64, unit: &'static str, goal: Goal) -> Self {
        let figure = Self {
            name: name.into(),
            value,
            unit,
            yardstick: None,
            yardstick_value: None,
            ratio: None,
            goal: None,
            met: None,
        };
        figure.held_to(goal)
    }

    fn held_to(mut self, goal: Goal) -> Self {
        (self.goal, self.met) = match goal {
            Goal::None => (None, None),
            Goal::RatioAtLeast(least) => (
                Some(format!("at least {least} of {}", self.yardstick.as_deref().unwrap_or(""))),
                self.ratio.map(|ratio| ratio >= least),
            ),
            Goal::RatioAtMost(most) => (
                Some(format!("at most {most} of {}", self.yardstick.as_deref().unwrap_or(""))),
                self.ratio.map(|ratio| ratio <= most),
            ),
            Goal::ValueAtMost(most) => {
                (Some(format!("at most {} {}", short(most), self.unit)), Some(self.value <= most))
            }
        };
        self
    }

    /// The line of the table.
    #[must_use]
    pub fn row(&self) -> String {
        let value = format!("{} {}", short(self.value), self.unit);
        let ratio = match (self.ratio, &self.yardstick) {
            (Some(ratio), Some(yardstick)) => format!("{ratio:.2} {yardstick}"),
            (None, Some(yardstick)) => {
                let held = self.yardstick_value.map(short).unwrap_or_default();
                format!("{yardstick}: {held}")
            }
            (_, None) => String::new(),
        };
        let goal = match (&self.goal, self.met) {
            (Some(goal), Some(true)) => format!("met     {goal}"),
            (Some(goal), Some(false)) => format!("MISSED  {goal}"),
            (Some(goal), None) => goal.clone(),
            (None, _) => String::new(),
        };
        format!("{:<58} {value:>16}  {ratio:<24} {goal}", self.name)
    }
}

/// As many digits as say something.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// Samples by name, one per round.
#[derive(Debug, Default)]
pub struct Rounds(BTreeMap<&'static str, Vec<f64>>);

impl Rounds {
    pub fn take(&mut self, name: &'static str, value: f64) {
        self.0.entry(name).or_default().push(value);
    }

    /// The first round warms caches and files up.
    pub fn forget(&mut self) {
        self.0.clear();
    }

    /// The median of a name's samples.
    #[must_use]
    pub fn median(&self, name: &str) -> f64 {
        median(&self.0[name])
    }

    /// The figure of `name` held against the samples of `yardstick`, round by round.
    #[must_use]
    pub fn against(&self, name: &'static str, yardstick: &'static str, goal: Goal) -> Figure {
        let pairs = self.0[name].iter().zip(&self.0[yardstick]);
        let ratios: Vec<f64> = pairs.map(|(value, held)| value / held).collect();
        let mut figure = Figure::plain(name, self.median(name), "1/s", Goal::None);
        figure.yardstick = Some(yardstick.to_owned());
        figure.yardstick_value = Some(self.median(yardstick));
        figure.ratio = Some(median(&ratios));
        figure.held_to(goal)
    }

    /// The same without a yardstick.
    #[must_use]
    pub fn plain(&self, name: &'static str, unit: &'static str, goal: Goal) -> Figure {
        Figure::plain(name, self.median(name), unit, goal)
    }
}

/// The middle one; of an even count the upper of the two.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value below which `share` of them lie.
#[must_use]
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    let at = ((sorted.len() as f64) * share) as usize;
    sorted.get(at.min(last)).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_the_median_of_the_rounds_ratios() {
        let mut rounds = Rounds::default();
        // A disk that is ten times faster in the second round must not move the ratio.
        for (rate, limit) in [(50.0, 100.0), (600.0, 1000.0), (40.0, 100.0)] {
            rounds.take("rate", rate);
            rounds.take("C", limit);
        }
        let figure = rounds.against("rate", "C", Goal::RatioAtLeast(0.5));
        assert_eq!((figure.ratio, figure.met), (Some(0.5), Some(true)));
        let figure = rounds.against("rate", "C", Goal::RatioAtLeast(0.51));
        assert_eq!(figure.met, Some(false));
    }

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(quantile(&values, 0.99), 100.0);
        assert_eq!(median(&values), 51.0);
        assert_eq!(median(&[3.0]), 3.0);
    }
}
