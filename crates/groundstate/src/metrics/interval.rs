//! 95 % confidence intervals of an AUROC.

use super::curve::Cut;

/// The 97.5 % quantile of the standard normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// Variance of the AUROC over images (DeLong, DeLong, Clarke-Pearson 1988, eq. 2–4), or `None` with
/// fewer than two images in a class.
///
/// A positive's placement is the share of negatives it beats, a negative's the share of positives
/// that beat it; tied images share one placement, so the sums run over distinct scores.
pub(super) fn delong_variance(
    cuts: impl Iterator<Item = Cut>,
    positives: u64,
    negatives: u64,
) -> Option<f64> {
    if positives < 2 || negatives < 2 {
        return None;
    }
    let (p, n) = (positives as f64, negatives as f64);
    let mut before = (0, 0);
    let mut groups = Vec::new();
    for cut in cuts {
        let tied = ((cut.positives - before.0) as f64, (cut.negatives - before.1) as f64);
        let beaten = (negatives - cut.negatives) as f64 + tied.1 / 2.0;
        let beaten_by = before.0 as f64 + tied.0 / 2.0;
        groups.push((tied.0, beaten / n, tied.1, beaten_by / p));
        before = (cut.positives, cut.negatives);
    }
    let area = groups.iter().map(|g| g.0 * g.1).sum::<f64>() / p;
    let of_positives = groups.iter().map(|g| g.0 * (g.1 - area).powi(2)).sum::<f64>() / (p - 1.0);
    let of_negatives = groups.iter().map(|g| g.2 * (g.3 - area).powi(2)).sum::<f64>() / (n - 1.0);
    Some(of_positives / p + of_negatives / n)
}

/// Interval of an area strictly between 0 and 1 from its variance, symmetric in ln(A / (1 − A)).
pub(super) fn logit(area: f64, variance: f64) -> (f64, f64) {
    let centre = (area / (1.0 - area)).ln();
    let reach = Z * variance.sqrt() / (area * (1.0 - area));
    let inverse = |x: f64| 1.0 / (1.0 + (-x).exp());
    (inverse(centre - reach), inverse(centre + reach))
}

/// Score-type interval (Newcombe 2006, Statistics in Medicine 25:559, method 5): all areas θ with
/// |A − θ| ≤ z √V(θ), V being the variance of Hanley and McNeil (1982) with both class sizes replaced
/// by their mean.
pub(super) fn newcombe(area: f64, positives: u64, negatives: u64) -> (f64, f64) {
    let (p, n) = (positives as f64, negatives as f64);
    let size = (p + n) / 2.0 - 1.0;
    let deviation = |theta: f64| {
        let spread = 1.0 + size * (1.0 - theta) / (2.0 - theta) + size * theta / (1.0 + theta);
        (theta * (1.0 - theta) * spread / (p * n)).sqrt()
    };
    let lower = |area: f64| {
        let (mut low, mut high) = (0.0, area);
        // 60 halvings take [0, 1] below the spacing of f64.
        for _ in 0..60 {
            let middle = (low + high) / 2.0;
            if area - middle > Z * deviation(middle) {
                low = middle;
            } else {
                high = middle;
            }
        }
        low
    };
    // V is symmetric about ½, so the upper end is the lower end of the mirrored area.
    (lower(area), 1.0 - lower(1.0 - area))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newcombe_mirrors_about_one_half() {
        let (low, high) = newcombe(0.2, 7, 31);
        let (mirror_low, mirror_high) = newcombe(0.8, 7, 31);
        assert!((low - (1.0 - mirror_high)).abs() < 1e-12);
        assert!((high - (1.0 - mirror_low)).abs() < 1e-12);
        assert!(low < 0.2 && high > 0.2);
    }

    #[test]
    fn the_logit_interval_stays_inside_the_unit_range() {
        let (low, high) = logit(0.99, 0.01);
        assert!(low > 0.0 && low < 0.99 && high > 0.99 && high < 1.0, "{low} {high}");
    }
}
