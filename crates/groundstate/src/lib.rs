//! Visual anomaly detection and localization with energy-based models.
#![forbid(unsafe_code)]

pub mod evaluate;
pub mod image;
pub mod metrics;
pub mod report;
