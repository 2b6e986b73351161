//! How much was made for the risk that was taken: ratios of daily returns (contract §6).
#![expect(
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    reason = "ratios of daily returns are no money"
)]

const DAYS_A_YEAR: f64 = 365.0;

/// The Sharpe ratio: the mean of daily returns over their standard deviation (of a sample), times √365. `None` where that
/// is no number, as without variation or with fewer than two days.
pub fn sharpe(returns: &[f64]) -> Option<f64> {
    let mean = mean(returns.iter().copied(), returns.len());
    let squares: f64 = returns.iter().map(|value| (value - mean).powi(2)).sum();
    yearly(mean, squares / (returns.len() as f64 - 1.0))
}

/// The Sortino ratio: the mean over the root of the mean square of the negative returns, all days counted, times √365.
/// `None` where that is no number, as without a losing day.
pub fn sortino(returns: &[f64]) -> Option<f64> {
    let downside = returns.iter().map(|value| value.min(0.0).powi(2));
    yearly(mean(returns.iter().copied(), returns.len()), mean(downside, returns.len()))
}

fn mean(values: impl Iterator<Item = f64>, count: usize) -> f64 {
    values.sum::<f64>() / count as f64
}

fn yearly(mean: f64, variance: f64) -> Option<f64> {
    let ratio = mean / variance.sqrt() * DAYS_A_YEAR.sqrt();
    ratio.is_finite().then_some(ratio)
}
