//! Per-region overlap (Bergmann et al. 2021, *The MVTec Anomaly Detection Dataset*, IJCV, sec. 5.2).
//!
//! PRO(t) is the mean, over all 8-connected ground-truth components of the data set, of the share of
//! the component at or above t; the false-positive rate counts all defect-free pixels, those of
//! defective images too. Small components weigh as much as large ones.

use super::curve;
use super::error::MetricsError;
use super::pixel::{PixelRanking, component};

impl PixelRanking {
    /// AUPRO@`limit`: the area under PRO against the false-positive rate on `[0, limit]`, divided by
    /// `limit`, in `[0, 1]`. Trapezoids between distinct scores, linear interpolation at `limit`.
    ///
    /// # Errors
    /// A limit outside `(0, 1]`.
    pub fn aupro(&self, limit: f64) -> Result<f64, MetricsError> {
        let points = self.pro_until(limit)?;
        let mut area = 0.0;
        let mut before = [0.0, 0.0];
        for point in points {
            area += (point[0] - before[0]) * (point[1] + before[1]) / 2.0;
            before = point;
        }
        Ok((area / limit).min(1.0)) // rounding may add a last digit to a perfect area
    }

    /// Points `[false-positive rate, PRO]` from `[0, 0]` to `limit`, thinned for plotting: no point of
    /// the exact curve is further than a thousandth of the plot from the drawn one.
    ///
    /// # Errors
    /// A limit outside `(0, 1]`.
    pub fn pro_curve(&self, limit: f64) -> Result<Vec<[f64; 2]>, MetricsError> {
        let points = self.pro_until(limit)?;
        Ok(curve::thin(std::iter::once([0.0, 0.0]).chain(points), limit))
    }

    /// The exact curve, its last point interpolated at `limit`.
    fn pro_until(&self, limit: f64) -> Result<impl Iterator<Item = [f64; 2]>, MetricsError> {
        if !(limit > 0.0 && limit <= 1.0) {
            return Err(MetricsError::Limit(limit));
        }
        let mut before = [0.0, 0.0];
        Ok(self.pro_points().map_while(move |point| {
            if before[0] >= limit {
                return None;
            }
            let start = std::mem::replace(&mut before, point);
            if point[0] <= limit {
                return Some(point);
            }
            let share = (limit - start[0]) / (point[0] - start[0]);
            Some([limit, start[1] + share * (point[1] - start[1])])
        }))
    }

    /// `[false-positive rate, PRO]` at every distinct score, from the highest down.
    fn pro_points(&self) -> impl Iterator<Item = [f64; 2]> {
        let sizes = self.component_sizes();
        // What one pixel of each component adds to PRO; defect-free pixels (component 0) add nothing.
        let weights: Vec<f64> = std::iter::once(0.0)
            .chain(sizes.iter().map(|&size| 1.0 / (size as f64 * sizes.len() as f64)))
            .collect();
        let mut false_positives = 0_u64;
        let mut overlap = 0.0;
        self.ties().map(move |tied| {
            for &pixel in tied {
                let component = component(pixel);
                false_positives += u64::from(component == 0);
                overlap += weights[component];
            }
            [false_positives as f64 / self.defect_free() as f64, f64::min(overlap, 1.0)]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::pixel::LabelledMap;
    use super::*;

    fn ranking(scores: &[f32], mask: &[bool]) -> PixelRanking {
        let map = LabelledMap { width: scores.len(), height: 1, scores, mask: Some(mask), inside: None };
        PixelRanking::new(&[map]).expect("both classes")
    }

    #[test]
    fn a_perfect_map_reaches_one_and_not_more() {
        let mask: Vec<bool> = (0..1000).map(|i| i % 3 == 0).collect();
        let scores: Vec<f32> = mask.iter().map(|&m| f32::from(u8::from(m))).collect();
        let perfect = ranking(&scores, &mask);
        assert_eq!(perfect.components(), 334);
        for limit in [0.05, 0.3, 1.0] {
            let value = perfect.aupro(limit).expect("limit");
            assert!(value <= 1.0 && value > 1.0 - 1e-12, "{value}");
        }
    }

    #[test]
    fn small_components_weigh_as_much_as_large_ones() {
        // Ten defective pixels in one component are found, one in another is missed: PRO stays ½.
        let mut scores = vec![0.0; 40];
        let mut mask = vec![false; 40];
        scores[..10].fill(1.0);
        mask[..10].fill(true);
        mask[20] = true;
        scores[20] = -1.0;
        let value = ranking(&scores, &mask).aupro(0.3).expect("limit");
        assert!((value - 0.5).abs() < 1e-12, "{value}");
    }

    #[test]
    fn the_curve_is_interpolated_at_the_limit() {
        // One score for everything: PRO is the diagonal, its area up to L is L²/2.
        let flat = ranking(&[0.5; 8], &[true, false, false, false, false, false, true, true]);
        assert!((flat.aupro(0.3).expect("limit") - 0.15).abs() < 1e-12);
        assert_eq!(flat.pro_curve(0.3).expect("limit"), vec![[0.0, 0.0], [0.3, 0.3]]);
    }

    #[test]
    fn a_limit_that_is_no_rate_is_refused() {
        let flat = ranking(&[0.5, 0.5], &[true, false]);
        for limit in [0.0, -0.1, 1.1, f64::NAN] {
            assert!(matches!(flat.aupro(limit), Err(MetricsError::Limit(_))));
        }
    }
}
