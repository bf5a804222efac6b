//! What a calibration promises, in words.

use groundstate::calibrate::{Basis, Calibration, Conformal};

/// A share as a percentage of at most three digits after the point.
pub(crate) fn percent(share: f64) -> String {
    let text = format!("{:.3}", 100.0 * share);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Where there are too few images for the stated rates of verdicts and of regions: how many they need
/// and what those there can promise.
pub(crate) fn shortages(calibration: &Calibration) -> [Option<String>; 2] {
    [
        shortage("a false-reject rate", &calibration.image),
        shortage("a pixel false-alarm rate", &calibration.map),
    ]
}

fn shortage(what: &str, calibration: &Conformal) -> Option<String> {
    let needed = calibration.shortage()?;
    Some(format!(
        "{what} of {} needs {needed} calibration images; {} can promise {}",
        percent(calibration.rate()),
        calibration.count(),
        percent(calibration.attainable_rate())
    ))
}

/// What the rates rest on.
pub(crate) fn basis(basis: Basis) -> &'static str {
    match basis {
        Basis::HeldOut => "held out: the rates hold for exchangeable parts",
        Basis::CrossFitted => "cross-fitted: the rates hold in practice, without proof",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_names_the_rate_the_need_and_what_can_be_promised() {
        let calibration = Conformal::new(vec![0.0; 60], 0.01).unwrap();
        let expected = "a rate of 1 % needs 99 calibration images; 60 can promise 1.639 %";
        assert_eq!(shortage("a rate", &calibration).as_deref(), Some(expected));
        assert_eq!(shortage("a rate", &Conformal::new(vec![0.0; 99], 0.01).unwrap()), None);
    }
}
