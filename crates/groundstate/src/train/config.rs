//! The training configuration: what a user may set, and the one door through which it is checked.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::cd::{Cd, CdConfig};
use super::contrast::{Contrast, ContrastConfig};
use super::dsm::{Dsm, DsmConfig};
use super::gaussian::ClosedForm;
use super::learned::{LearnedMethod, Learning, Readout};
use super::optimiser::OptimiserConfig;
use super::product::Product;
use super::{Method, TrainError};
use crate::image::{Colour, Fit, Image, Polygon, Preprocessing, Roi, Tone};
use crate::model::{CELL, GaussianConfig, NetworkConfig};
use crate::score::MapKind;

/// A training method by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MethodName {
    /// The closed-form reference energy.
    Gaussian,
    /// Normal pictures against corrupted ones.
    Contrast,
    /// Multi-scale denoising score matching.
    Dsm,
    /// Contrastive divergence with Langevin chains.
    Cd,
    /// The closed form and networks that learn as `contrast` does.
    #[default]
    Product,
}

impl MethodName {
    /// Every method.
    pub const ALL: [Self; 5] = [Self::Gaussian, Self::Contrast, Self::Dsm, Self::Cd, Self::Product];

    fn name(self) -> &'static str {
        match self {
            Self::Gaussian => "gaussian",
            Self::Contrast => "contrast",
            Self::Dsm => "dsm",
            Self::Cd => "cd",
            Self::Product => "product",
        }
    }
}

impl fmt::Display for MethodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for MethodName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|method| method.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.into_iter().map(Self::name).collect();
            format!("method is {text:?}, expected one of {}", names.join(", "))
        })
    }
}

/// All settings of a training, each with a default that serves every kind of part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Training method.
    pub method: MethodName,
    /// Seed of everything random.
    pub seed: u64,
    /// Wall time that training may take, in seconds, reading the pictures included. Unless
    /// `optimiser.steps` is set, it is turned into a number of steps once, by the measured speed. A
    /// closed form takes what it takes.
    pub budget_seconds: f64,
    /// Edge in pixels of the square picture that the energy sees, or of a tile; the method's own when absent.
    pub size: Option<usize>,
    /// How a picture that is not square becomes square, or that it keeps its size and is worked through in
    /// tiles.
    pub fit: Fit,
    /// Colour or grey.
    pub colour: Colour,
    /// What counts as white, as a number of 16 bits, 1 to 65535. Absent, the pictures are taken as they
    /// are; [`white_level`](crate::image::white_level) tells what they use of the range.
    pub white_level: Option<u16>,
    /// What is made of the values of pixels. Absent, they are taken as they are but where the energy is a closed form or
    /// one times networks, on pictures that are scaled to one size: there the normal pictures decide ([`Tone::of`]).
    pub tone: Option<Tone>,
    /// Region of interest: polygons with corners as shares of width and height; empty for all.
    pub roi: Vec<Polygon>,
    /// Share of the normal pictures that training does not see and that calibrate the detector, so that
    /// its rates hold exactly ([`Basis::HeldOut`](crate::calibrate::Basis)); with 0, all are trained on
    /// and the calibration is cross-fitted.
    pub calibration_share: f64,
    /// Whether a new picture is calibrated by the energies of folds of the normal pictures, so that its rates
    /// have a bound ([`Basis::CrossConformal`](crate::calibrate::Basis)) without pictures set apart; for the
    /// closed form, where pictures are scaled to one size.
    pub cross_conformal: bool,
    /// Whether pictures are brought to one pose, if the normal ones turn out to differ by theirs.
    pub register: bool,
    /// Settings of the closed-form energy.
    pub gaussian: GaussianConfig,
    /// Whether a learned energy is trained on top of the closed-form one (E = E₀ + E_θ).
    pub on_reference: bool,
    /// The network of the learned energies.
    pub network: NetworkConfig,
    /// How the learned energies are optimised.
    pub optimiser: OptimiserConfig,
    /// Settings of method `contrast`.
    pub contrast: ContrastConfig,
    /// Settings of method `dsm`.
    pub dsm: DsmConfig,
    /// Settings of method `cd`.
    pub cd: CdConfig,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            method: MethodName::default(),
            seed: 0,
            budget_seconds: 600.0,
            size: None,
            fit: Fit::default(),
            colour: Colour::default(),
            white_level: None,
            tone: None,
            roi: Vec::new(),
            calibration_share: 0.0,
            cross_conformal: false,
            register: true,
            gaussian: GaussianConfig::default(),
            on_reference: false,
            network: NetworkConfig::default(),
            optimiser: OptimiserConfig::default(),
            contrast: ContrastConfig::default(),
            dsm: DsmConfig::default(),
            cd: CdConfig::default(),
        }
    }
}

impl TrainConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// Names the first setting that is out of range.
    pub fn check(self) -> Result<Self, TrainError> {
        self.preprocessing().check()?;
        self.roi()?;
        self.gaussian.check()?;
        self.optimiser.check()?;
        Contrast::new(&self.contrast)?;
        Dsm::new(&self.dsm)?;
        Cd::new(&self.cd)?;
        self.network.network(self.preprocessing().channels(), false)?;
        if self.method == MethodName::Product && self.on_reference {
            return Err(TrainError::Setting {
                setting: "on_reference",
                found: "set".to_owned(),
                expected: "a learned method; product has a reference energy of its own",
            });
        }
        if self.fit == Fit::Tile && self.on_reference {
            return Err(TrainError::Setting {
                setting: "on_reference",
                found: "set".to_owned(),
                expected: "no reference energy where pictures are worked through in tiles",
            });
        }
        let size = self.preprocessing().size;
        let multiple = match self.method {
            MethodName::Gaussian => CELL,
            MethodName::Product if self.fit == Fit::Tile => CELL,
            _ => NetworkConfig::SIZE_MULTIPLE,
        };
        if !size.is_multiple_of(multiple) {
            return Err(TrainError::Setting {
                setting: "size",
                found: size.to_string(),
                expected: match multiple {
                    CELL => "a multiple of 4 pixels for method gaussian",
                    _ => "a multiple of 32 pixels for a learned method",
                },
            });
        }
        if !(0.0..=0.9).contains(&self.calibration_share) {
            return Err(TrainError::Setting {
                setting: "calibration_share",
                found: self.calibration_share.to_string(),
                expected: "a number from 0 to 0.9",
            });
        }
        if self.cross_conformal {
            self.check_cross_conformal()?;
        }
        if !(self.budget_seconds > 0.0 && self.budget_seconds.is_finite()) {
            return Err(TrainError::Setting {
                setting: "budget_seconds",
                found: self.budget_seconds.to_string(),
                expected: "a positive number of seconds",
            });
        }
        Ok(self)
    }

    fn check_cross_conformal(&self) -> Result<(), TrainError> {
        let refused = |expected| {
            Err(TrainError::Setting { setting: "cross_conformal", found: "set".to_owned(), expected })
        };
        if self.method != MethodName::Gaussian {
            return refused(
                "method gaussian; with any other, calibration_share or `groundstate calibrate` with new images \
                 makes the rates hold",
            );
        }
        if self.fit == Fit::Tile {
            return refused(
                "pictures that are scaled to one size; in tiles, calibration_share or `groundstate calibrate` with \
                 new images makes the rates hold",
            );
        }
        if self.calibration_share > 0.0 {
            return refused("calibration_share to be 0: either all pictures calibrate, or those set apart");
        }
        Ok(())
    }

    /// Edge of the pictures, or of the tiles, that the method works on unless told otherwise.
    fn default_size(&self) -> usize {
        let in_tiles = self.fit == Fit::Tile;
        match self.method {
            MethodName::Gaussian | MethodName::Product if in_tiles => 512,
            MethodName::Contrast if in_tiles || self.on_reference => 128,
            MethodName::Gaussian | MethodName::Product | MethodName::Contrast => 256,
            MethodName::Dsm => 128,
            MethodName::Cd => 64,
        }
    }

    /// How pictures are brought to the shape that the method takes; with the tone only if it is stated.
    pub fn preprocessing(&self) -> Preprocessing {
        let size = self.size.unwrap_or_else(|| self.default_size());
        let white_level = self.white_level.unwrap_or(Preprocessing::default().white_level);
        let tone = self.tone.unwrap_or_default();
        Preprocessing { size, fit: self.fit, colour: self.colour, white_level, tone }
    }

    /// The tone that is stated, or that normal pictures of one size ask for.
    pub(super) fn tone_of(&self, pictures: &[Image]) -> Tone {
        let decided = || match self.method {
            MethodName::Gaussian | MethodName::Product => Tone::of(pictures),
            MethodName::Contrast | MethodName::Dsm | MethodName::Cd => Tone::Linear,
        };
        self.tone.unwrap_or_else(decided)
    }

    /// The region of interest, where there is one.
    ///
    /// # Errors
    /// When a polygon is none or nothing is inside.
    pub fn roi(&self) -> Result<Option<Roi>, TrainError> {
        if self.roi.is_empty() {
            return Ok(None);
        }
        Ok(Some(Roi::from_polygons(&self.roi, self.preprocessing().roi_edge())?))
    }

    /// The method, set up.
    pub(super) fn method(&self) -> Box<dyn Method> {
        match self.learning() {
            Some(learning) => Box::new(LearnedMethod { learning, config: self.clone() }),
            None if self.method == MethodName::Product => {
                Box::new(Product { learning: Self::contrast, config: self.clone() })
            }
            None => Box::new(ClosedForm { config: self.gaussian.clone() }),
        }
    }

    /// How the method learns; the closed form does not, and what contains it only in part.
    pub(super) fn learning(&self) -> Option<Learning> {
        let mut learning = match self.method {
            MethodName::Gaussian | MethodName::Product => return None,
            MethodName::Contrast => self.contrast(),
            MethodName::Dsm => Learning {
                objective: |config| Ok(Box::new(Dsm::new(&config.dsm)?)),
                steps: 12_000,
                // A picture holds thousands of noisy pixels to learn from: many steps serve better than
                // many pictures a step.
                batch: 2,
                window: |_| usize::MAX,
                learning_rate: 1e-3,
                betas: (0.9, 0.99),
                reading: Readout { score: "gradient_z_max", map: MapKind::GradientZ },
                reading_registered: Readout { score: "gradient_max", map: MapKind::Gradient },
            },
            MethodName::Cd => Learning {
                objective: |config| Ok(Box::new(Cd::new(&config.cd)?)),
                steps: 1000,
                batch: 16,
                window: |_| usize::MAX,
                learning_rate: 5e-4,
                betas: (0.0, 0.999),
                // At 64 px a position is so much of the part that registration leaves it what it was.
                reading: Readout { score: "gradient_z_top", map: MapKind::GradientZ },
                reading_registered: Readout { score: "gradient_z_top", map: MapKind::GradientZ },
            },
        };
        // The gradient of a closed form localizes poorly, and so does that of what is on one.
        if self.on_reference && matches!(self.method, MethodName::Dsm | MethodName::Cd) {
            let reading = || Readout { score: "energy_z_top", map: MapKind::EnergyZ };
            (learning.reading, learning.reading_registered) = (reading(), reading());
        }
        Some(learning)
    }

    fn contrast(&self) -> Learning {
        Learning {
            objective: |config| Ok(Box::new(Contrast::new(&config.contrast)?)),
            steps: 12_000,
            batch: 4,
            // What is on a reference energy sees what that sees.
            window: |config| if config.on_reference { usize::MAX } else { config.contrast.window_px },
            learning_rate: 1e-3,
            betas: (0.9, 0.99),
            // A logit means the same everywhere, and dividing by its spread would undo that; a closed
            // form below it does not.
            reading: Readout {
                score: if self.on_reference { "energy_z_top" } else { "energy_top" },
                map: MapKind::Energy,
            },
            reading_registered: Readout { score: "energy_top", map: MapKind::Energy },
        }
    }
}
