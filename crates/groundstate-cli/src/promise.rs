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
        "{what} of {} needs {needed} calibration images; {} can {} {}",
        percent(calibration.rate()),
        calibration.count(),
        if calibration.folds() == 1 { "promise" } else { "give" },
        percent(calibration.attainable_rate())
    ))
}

/// What the rates rest on.
pub(crate) fn basis(calibration: &Calibration) -> String {
    match calibration.basis {
        Basis::HeldOut => "held out: the rates hold for exchangeable parts".to_owned(),
        Basis::CrossFitted => "cross-fitted: the rates hold in practice, without proof".to_owned(),
        Basis::CrossConformal => format!(
            "cross-conformal in {} folds: the rates hold in practice, and have a bound",
            calibration.image.folds()
        ),
    }
}

/// What is proven and what is to be expected where both differ.
pub(crate) fn bound(calibration: &Calibration) -> Option<String> {
    let Calibration { image, map, .. } = calibration;
    (calibration.basis == Basis::CrossConformal).then(|| {
        format!(
            "cross-conformal: of good parts like those trained on about {} or fewer are rejected, at most {} by \
             proof; about {} or fewer show a region, at most {} by proof",
            percent(image.attainable_rate()),
            percent(image.bound()),
            percent(map.attainable_rate()),
            percent(map.bound())
        )
    })
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
        let folds = Conformal::of_folds(vec![vec![0.0; 30]; 2], 0.01).unwrap();
        assert!(shortage("a rate", &folds).unwrap().ends_with("60 can give 1.639 %"));
    }

    #[test]
    fn a_bound_is_stated_where_it_is_not_the_rate() {
        let fold = || (vec![0.0; 33], vec![0.0; 33]);
        let calibration = Calibration::cross_conformal(vec![fold(), fold(), fold()]).unwrap();
        // 2 · (1 + 2) / 102 and 2 · (5 + 2) / 102.
        let expected = "cross-conformal: of good parts like those trained on about 1 % or fewer are rejected, at \
                        most 5.882 % by proof; about 5 % or fewer show a region, at most 13.725 % by proof";
        assert_eq!(bound(&calibration).as_deref(), Some(expected));
        let held_out = Calibration::new(vec![0.0], vec![0.0], Basis::HeldOut).unwrap();
        assert_eq!(bound(&held_out), None);
    }
}
