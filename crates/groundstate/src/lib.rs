//! Visual anomaly detection and localization with energy-based models.
#![forbid(unsafe_code)]

pub mod artifact;
pub mod calibrate;
pub mod conditions;
pub mod dataset;
pub mod detector;
pub mod drift;
pub mod evaluate;
pub mod image;
pub mod metrics;
pub mod model;
pub mod regions;
pub mod report;
pub mod sampler;
pub mod score;
pub mod synthetic;
pub mod train;
