//! The learning rate as a function of the step.

use serde::{Deserialize, Serialize};

/// A learning rate for each step, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// Always the same.
    Constant {
        /// The rate.
        rate: f64,
    },
    /// Linear from peak/warm_up_steps to the peak, then half a cosine down to `last` (Loshchilov & Hutter
    /// 2017, eq. 5, without restarts).
    WarmUpCosine {
        /// The highest rate, reached at step `warm_up_steps − 1`.
        peak: f64,
        /// The rate from step `steps` on.
        last: f64,
        /// Steps of the linear rise; 0 for none.
        warm_up_steps: u64,
        /// Steps of the whole schedule.
        steps: u64,
    },
}

impl Schedule {
    /// The rate at a step.
    pub fn rate(&self, step: u64) -> f64 {
        match *self {
            Schedule::Constant { rate } => rate,
            Schedule::WarmUpCosine { peak, last, warm_up_steps, steps } => {
                if step < warm_up_steps {
                    return peak * (step + 1) as f64 / warm_up_steps as f64;
                }
                if step >= steps {
                    return last;
                }
                let done = (step - warm_up_steps) as f64 / (steps - warm_up_steps) as f64;
                last + 0.5 * (peak - last) * (1.0 + (std::f64::consts::PI * done).cos())
            }
        }
    }
}
