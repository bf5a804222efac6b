//! Detection and localization metrics, exact and with their undefined cases named.
//!
//! Label 1 is anomalous and a higher score is more anomalous. A decision at threshold t flags every
//! score ≥ t, never >. Nothing here bins scores: curves come from an exact sort in which tied scores
//! form one step. A metric that its data do not define (one class only, no component, too few
//! pixels) is an error that says why; it never falls back to a number.
//!
//! Where maps come with a region of interest ([`LabelledMap::inside`]), its pixels are all that counts.
//!
//! - [`Ranking`] sorts one score per image: AUROC with its interval, average precision, F1-max, ROC.
//! - [`PixelRanking`] sorts every pixel of many maps: the same, and PRO with [`PixelRanking::aupro`].
//! - [`aupimo`] looks at each defective image alone, at very low false-positive rates.

mod curve;
mod error;
mod interval;
mod pimo;
mod pixel;
mod pro;
mod ranking;

pub use curve::{Auroc, F1Max};
pub use error::MetricsError;
pub use pimo::{Aupimo, MIN_NORMAL_PIXELS, aupimo};
pub use pixel::{LabelledMap, PixelRanking};
pub use ranking::Ranking;
