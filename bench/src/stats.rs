use std::time::Duration;

/// Times of the same work done in two ways, round by round.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

impl Pairs {
    pub(crate) fn add(&mut self, ours: Duration, theirs: Duration) {
        self.ours.push(ours.as_secs_f64() * 1e3);
        self.theirs.push(theirs.as_secs_f64() * 1e3);
    }

    /// One line: both medians in milliseconds, their ratio, and the spread of the ratios of single rounds.
    pub(crate) fn print(&self, our_name: &str, their_name: &str) {
        let ratios: Vec<f64> = self
            .ours
            .iter()
            .zip(&self.theirs)
            .map(|(ours, theirs)| ours / theirs)
            .collect();
        let spread = Spread::of(&ratios);
        println!(
            "{our_name} {:.2} ms, {their_name} {:.2} ms: ratio {:.2} (rounds {:.2} to {:.2}, n = {})",
            median(&self.ours),
            median(&self.theirs),
            median(&self.ours) / median(&self.theirs),
            spread.least,
            spread.most,
            ratios.len()
        );
    }
}

impl Pairs {
    /// One line about the slow end: the 99th of a hundred of ours, and its ratio to the other's median.
    pub(crate) fn print_tail(&self, our_name: &str, their_name: &str) {
        let tail = percentile(&self.ours, 0.99);
        println!(
            "{our_name}, 99th of a hundred {tail:.2} ms: {:.2} times the median of {their_name}",
            tail / median(&self.theirs)
        );
    }
}

/// The figure that `part` of all figures do not exceed.
fn percentile(figures: &[f64], part: f64) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (sorted.len() as f64 * part).ceil() as usize;
    sorted
        .get(place.saturating_sub(1))
        .copied()
        .unwrap_or(f64::NAN)
}

/// Least, median and greatest of some figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) most: f64,
}

impl Spread {
    pub(crate) fn of(figures: &[f64]) -> Spread {
        Spread {
            least: figures.iter().copied().fold(f64::INFINITY, f64::min),
            median: median(figures),
            most: figures.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.2} ({:.2} to {:.2})",
            self.median, self.least, self.most
        )
    }
}

/// The figure in the middle, or the mean of the two.
pub(crate) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_stands_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
        assert_eq!(percentile(&[3.0, 1.0, 2.0], 0.99), 3.0);
        assert_eq!(percentile(&[3.0, 1.0, 2.0], 0.5), 2.0);
        let spread = Spread::of(&[3.0, 1.0, 2.0]);
        assert_eq!((spread.least, spread.most), (1.0, 3.0));
    }
}
