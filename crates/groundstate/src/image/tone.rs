//! What is made of the values of pixels once their light is taken out.

use serde::{Deserialize, Serialize};

/// What is made of the value of a pixel under the light of the mean normal picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tone {
    /// Nothing.
    #[default]
    Linear,
    /// ln(1 + 5 v) / ln 6 of a value v, which leaves 0 and 1 where they are. Light multiplies what a surface reflects, so
    /// differences of logarithms stay what they are when it changes; those of values far below 0.2 grow in proportion,
    /// so the noise of dark places is not blown up.
    Logarithmic,
}

impl Tone {
    /// What is added to values before their logarithm is taken.
    const DARK: f32 = 0.2;

    /// Divides the gain of the light out of values, then gives each its tone.
    pub(super) fn relight(self, values: &mut [f32], gain: f32) {
        values.iter_mut().for_each(|value| *value /= gain);
        match self {
            Self::Linear => {}
            Self::Logarithmic => {
                let scale = (1.0 + 1.0 / Self::DARK).ln().recip();
                values.iter_mut().for_each(|value| *value = scale * (1.0 + *value / Self::DARK).ln());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_are_taken_of_values_without_their_light() {
        let gain = 1.25f32;
        let lit = [0.0, 0.01, 0.2, 0.5, 1.0, 1.25f32];
        for tone in [Tone::Linear, Tone::Logarithmic] {
            let mut found = lit;
            tone.relight(&mut found, gain);
            for (found, lit) in found.into_iter().zip(lit) {
                let value = f64::from(lit / gain);
                let expected = match tone {
                    Tone::Linear => value,
                    Tone::Logarithmic => (1.0 + 5.0 * value).ln() / 6f64.ln(),
                };
                assert!((f64::from(found) - expected).abs() < 1e-6, "{tone:?}: {found} {expected}");
            }
        }
    }
}
