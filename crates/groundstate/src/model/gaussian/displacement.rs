//! Local free energies: what no small displacement of the part explains.
//!
//! No part lies exactly where the others lay, and at an edge of it a pixel is enough for a high energy. What is
//! seen at a cell u is therefore also compared with what is normal at the cells p around it:
//!
//! f(u) = −log Σ_p π(p − u) exp(−e(u, p)),  e(u, p) = ½ |L_p⁻¹ (φ(u) − m(p))|²
//!
//! where m(p) is the mean there, with what varies in the whole picture, and π a normal distribution of the
//! displacement: a latent variable that is summed out (the free energy of LeCun et al. 2006, *A Tutorial on
//! Energy-Based Learning*, section 4). e(u, u) is the local energy e(u).

use groundstate_nn::Backend;
use rayon::prelude::*;

use super::Gaussian;
use crate::image::Map;

/// Displacements in cells that are tried besides none.
const DISPLACEMENTS: [(isize, isize); 8] =
    [(-1, -1), (0, -1), (1, -1), (-1, 0), (1, 0), (-1, 1), (0, 1), (1, 1)];

impl Gaussian {
    /// The local free energies of a picture with these local energies.
    ///
    /// # Shapes
    /// `deviation`: projected features less the mean picture, `unvaried`: the same after what varies in the
    /// whole picture was taken out, both cells × k.
    pub(super) fn free_energies(&self, deviation: &[f32], unvaried: &[f32], local: &Map) -> Map {
        if self.displacement_px == 0.0 {
            return local.clone();
        }
        let features: Vec<f32> = deviation.iter().zip(&self.mean).map(|(d, m)| d + m).collect();
        let predicted: Vec<f32> = features.iter().zip(unvaried).map(|(f, u)| f - u).collect();
        let displaced = self.displaced(&features, &predicted);
        let (log_none, log_prior) = self.log_prior();
        let mut free = local.clone();
        free.values.par_iter_mut().with_min_len(self.columns).enumerate().for_each(|(u, free)| {
            let mut terms = [f32::NEG_INFINITY; 1 + DISPLACEMENTS.len()];
            terms[DISPLACEMENTS.len()] = log_none - *free;
            for (number, displacement) in DISPLACEMENTS.into_iter().enumerate() {
                if let Some(p) = self.moved(u, displacement) {
                    terms[number] = log_prior[number] - 0.5 * displaced[p][number];
                }
            }
            *free = -log_sum_exp(&terms);
        });
        free
    }

    /// |L_p⁻¹ (φ(u) − m(p))|² of every position p and each displacement, where u is the cell that shows the
    /// features of p if they are displaced by it; without meaning where u lies outside the picture.
    fn displaced(&self, features: &[f32], predicted: &[f32]) -> Vec<[f32; 8]> {
        let (k, backend) = (self.dimensions, Backend::detect());
        let packed = k * (k + 1) / 2;
        let mut displaced = vec![[0f32; 8]; self.columns * self.rows];
        displaced.par_chunks_exact_mut(self.columns).enumerate().for_each(|(y, displaced)| {
            let mut residuals = vec![[0f32; 8]; k];
            for (p, displaced) in (y * self.columns..).zip(displaced) {
                let expected = &predicted[p * k..][..k];
                for (number, (dx, dy)) in DISPLACEMENTS.into_iter().enumerate() {
                    let Some(u) = self.moved(p, (-dx, -dy)) else { continue };
                    let seen = features[u * k..][..k].iter().zip(expected);
                    residuals
                        .iter_mut()
                        .zip(seen)
                        .for_each(|(to, (seen, expected))| to[number] = seen - expected);
                }
                *displaced = backend.squared_norms(&self.factor[p * packed..][..packed], &residuals);
            }
        });
        displaced
    }

    /// log π of no displacement and of each other.
    fn log_prior(&self) -> (f32, [f32; 8]) {
        let scale = -0.5 * (self.cell_px() as f32 / self.displacement_px).powi(2);
        let mut log_prior = DISPLACEMENTS.map(|(dx, dy)| scale * (dx * dx + dy * dy) as f32);
        let total = (1.0 + log_prior.iter().map(|log| log.exp()).sum::<f32>()).ln();
        log_prior.iter_mut().for_each(|log| *log -= total);
        (-total, log_prior)
    }

    /// The cell at a displacement from another, inside the picture.
    fn moved(&self, cell: usize, (dx, dy): (isize, isize)) -> Option<usize> {
        let x = (cell % self.columns).checked_add_signed(dx).filter(|&x| x < self.columns)?;
        let y = (cell / self.columns).checked_add_signed(dy).filter(|&y| y < self.rows)?;
        Some(y * self.columns + x)
    }
}

fn log_sum_exp(values: &[f32]) -> f32 {
    let highest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if highest == f32::NEG_INFINITY {
        // Energies that overflow stay what they are.
        return highest;
    }
    highest + values.iter().map(|value| (value - highest).exp()).sum::<f32>().ln()
}

#[cfg(test)]
mod tests {
    use super::log_sum_exp;

    #[test]
    fn sums_of_exponentials_neither_overflow_nor_vanish() {
        let two = log_sum_exp(&[-1000.0, -1000.0, f32::NEG_INFINITY]);
        assert!((two - (2f32.ln() - 1000.0)).abs() < 1e-3, "{two}");
        assert_eq!(log_sum_exp(&[f32::NEG_INFINITY; 3]), f32::NEG_INFINITY);
    }
}
