//! The training configuration: what a user may set, and the one door through which it is checked.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::gaussian::ClosedForm;
use super::{Method, TrainError};
use crate::image::{Colour, Fit, Preprocessing};
use crate::model::GaussianConfig;

/// A training method by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MethodName {
    /// The closed-form reference energy.
    #[default]
    Gaussian,
}

impl MethodName {
    /// Every method.
    pub const ALL: [Self; 1] = [Self::Gaussian];

    fn name(self) -> &'static str {
        match self {
            Self::Gaussian => "gaussian",
        }
    }

    /// Edge of the pictures that the method works on unless told otherwise.
    fn default_size(self) -> usize {
        match self {
            Self::Gaussian => 256,
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
    /// Wall time that training may take, in seconds, reading the pictures included. A closed form
    /// takes what it takes.
    pub budget_seconds: f64,
    /// Edge of the square picture that the energy sees, in pixels; the method's own when absent.
    pub size: Option<usize>,
    /// How a picture that is not square becomes square.
    pub fit: Fit,
    /// Colour or grey.
    pub colour: Colour,
    /// Settings of the closed-form energy.
    pub gaussian: GaussianConfig,
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
            gaussian: GaussianConfig::default(),
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
        self.gaussian.check()?;
        if !(self.budget_seconds > 0.0 && self.budget_seconds.is_finite()) {
            return Err(TrainError::Setting {
                setting: "budget_seconds",
                found: self.budget_seconds.to_string(),
                expected: "a positive number of seconds",
            });
        }
        Ok(self)
    }

    /// How pictures are brought to the shape that the method takes.
    pub fn preprocessing(&self) -> Preprocessing {
        let size = self.size.unwrap_or(self.method.default_size());
        Preprocessing { size, fit: self.fit, colour: self.colour }
    }

    /// The method, set up.
    pub(super) fn method(&self) -> Box<dyn Method> {
        match self.method {
            MethodName::Gaussian => Box::new(ClosedForm { config: self.gaussian.clone() }),
        }
    }
}
