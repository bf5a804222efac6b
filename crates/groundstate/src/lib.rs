//! Visual anomaly detection and localization with energy-based models.
#![forbid(unsafe_code)]

pub mod artifact;
pub mod calibrate;
pub mod detector;
pub mod dataset;
pub mod image;
pub mod metrics;
pub mod model;
pub mod score;
pub mod train;
