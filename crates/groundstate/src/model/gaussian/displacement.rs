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

use groundstate_nn::{Backend, Quantised};
use rayon::prelude::*;

use super::Gaussian;
use crate::image::Map;

/// Displacements in cells that are tried besides none.
const DISPLACEMENTS: [(isize, isize); 8] =
    [(-1, -1), (0, -1), (1, -1), (-1, 0), (1, 0), (-1, 1), (0, 1), (1, 1)];

/// What a picture shows, and what is normal in its place and around it.
pub(super) struct Displaced {
    /// φ, cells × k.
    features: Vec<f32>,
    /// m, cells × k.
    expected: Vec<f32>,
    /// |L_p⁻¹ (φ(u) − m(p))|² of every position p and each displacement, where u is the cell that shows the
    /// features of p if they are displaced by it; without meaning where u lies outside the picture.
    norms: Vec<[f32; DISPLACEMENTS.len()]>,
}

/// The same, with norms of one row of positions.
pub(super) struct Row<'a> {
    features: &'a [f32],
    expected: &'a [f32],
    norms: &'a mut [[f32; DISPLACEMENTS.len()]],
    /// Scratch: displacements × k.
    residuals: Vec<f32>,
}

impl Displaced {
    /// One row of `columns` positions after another.
    pub(super) fn rows(&mut self, columns: usize) -> impl Iterator<Item = Row<'_>> {
        let Self { features, expected, norms } = self;
        let norms = norms.chunks_exact_mut(columns);
        norms.map(|norms| Row { features, expected, norms, residuals: Vec::new() })
    }
}

impl Row<'_> {
    /// Fills in the norms of position `p` by its factor.
    fn compare(&mut self, gaussian: &Gaussian, p: usize, factor: Quantised) {
        let k = gaussian.dimensions;
        self.residuals.resize(DISPLACEMENTS.len() * k, 0.0);
        let expected = &self.expected[p * k..][..k];
        for ((dx, dy), residuals) in DISPLACEMENTS.into_iter().zip(self.residuals.chunks_exact_mut(k)) {
            let Some(u) = gaussian.moved(p, (-dx, -dy)) else { continue };
            let seen = self.features[u * k..][..k].iter().zip(expected);
            residuals.iter_mut().zip(seen).for_each(|(to, (seen, expected))| *to = seen - expected);
        }
        self.norms[p % gaussian.columns] = Backend::detect().squared_norms(factor, &self.residuals);
    }
}

impl Gaussian {
    /// Fills in the norms of row `y` of the positions of several pictures.
    pub(super) fn compare(&self, y: usize, pictures: &mut [Row]) {
        for p in self.cells(y) {
            let factor = self.factor.of_cells(p..p + 1, self.columns * self.rows);
            pictures.iter_mut().for_each(|picture| picture.compare(self, p, factor));
        }
    }

    /// What is compared, before it is: nothing where displacements are not summed out.
    ///
    /// # Shapes
    /// `deviation`: projected features less the mean picture, `unvaried`: the same after what varies in the
    /// whole picture was taken out, both cells × k.
    pub(super) fn displaced(&self, mut deviation: Vec<f32>, unvaried: &[f32]) -> Displaced {
        if self.displacement_px == 0.0 {
            return Displaced { features: Vec::new(), expected: Vec::new(), norms: Vec::new() };
        }
        deviation.iter_mut().zip(&self.mean).for_each(|(d, m)| *d += m);
        let features = deviation;
        let expected = features.iter().zip(unvaried).map(|(f, u)| f - u).collect();
        Displaced { features, expected, norms: vec![Default::default(); self.columns * self.rows] }
    }

    /// The local free energies of a picture with these local energies.
    pub(super) fn free_energies(&self, displaced: &Displaced, local: &Map) -> Map {
        let mut free = local.clone();
        if self.displacement_px == 0.0 {
            return free;
        }
        let (log_none, log_prior) = self.log_prior();
        free.values.par_iter_mut().with_min_len(self.columns).enumerate().for_each(|(u, free)| {
            let mut terms = [f32::NEG_INFINITY; 1 + DISPLACEMENTS.len()];
            terms[DISPLACEMENTS.len()] = log_none - *free;
            for (number, displacement) in DISPLACEMENTS.into_iter().enumerate() {
                if let Some(p) = self.moved(u, displacement) {
                    terms[number] = log_prior[number] - 0.5 * displaced.norms[p][number];
                }
            }
            *free = -log_sum_exp(&terms);
        });
        free
    }

    /// log π of no displacement and of each other.
    fn log_prior(&self) -> (f32, [f32; DISPLACEMENTS.len()]) {
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
