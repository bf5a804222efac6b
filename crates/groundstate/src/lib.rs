//! Visual anomaly detection and localization with energy-based models.
#![forbid(unsafe_code)]

pub mod dataset;
pub mod image;
pub mod synthetic;
