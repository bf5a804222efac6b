//! Numbers as the page prints them.

/// An area in `[0, 1]` with three decimals. Only a perfect area reads 1.000: 0.9996 is cut to 0.999.
pub(super) fn area(value: f64) -> String {
    let rounded = format!("{value:.3}");
    if value < 1.0 && rounded == "1.000" { "0.999".to_owned() } else { rounded }
}

/// An area that may be absent.
pub(super) fn optional_area(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), area)
}

/// Four significant digits, in scientific notation where plain digits would be long.
pub(super) fn significant(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let magnitude = value.abs().log10().floor();
    if (-4.0..6.0).contains(&magnitude) {
        let decimals = (3.0 - magnitude).max(0.0) as usize;
        format!("{value:.decimals$}")
    } else {
        format!("{value:.3e}")
    }
}

/// A p-value with its sign: "p = 0.021", "p < 0.001".
pub(super) fn p_value(value: f64) -> String {
    if value < 0.001 { "p < 0.001".to_owned() } else { format!("p = {value:.3}") }
}

/// "12 of 80 (15.0 %)"; no share of nothing.
pub(super) fn share(part: usize, whole: usize) -> String {
    if whole == 0 {
        return "0 of 0".to_owned();
    }
    format!("{part} of {whole} ({:.1} %)", 100.0 * part as f64 / whole as f64)
}

/// A duration in the largest fitting units.
pub(super) fn duration(seconds: f64) -> String {
    if seconds < 120.0 {
        format!("{seconds:.1} s")
    } else if seconds < 7200.0 {
        format!("{} min {} s", seconds as u64 / 60, seconds as u64 % 60)
    } else {
        format!("{} h {} min", seconds as u64 / 3600, seconds as u64 / 60 % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_perfect_area_is_printed_as_one() {
        assert_eq!((area(1.0), area(0.9999)), ("1.000".to_owned(), "0.999".to_owned()));
        assert_eq!(area(0.98765), "0.988");
    }

    #[test]
    fn scores_keep_four_digits_at_any_size() {
        let printed: Vec<String> = [0.0, 12.3456, -0.012_346, 98_765.4, 1.5e9, 2e-7].map(significant).into();
        assert_eq!(printed, ["0", "12.35", "-0.01235", "98765", "1.500e9", "2.000e-7"]);
    }

    #[test]
    fn durations_pick_their_unit() {
        assert_eq!(duration(27.34), "27.3 s");
        assert_eq!(duration(312.0), "5 min 12 s");
        assert_eq!(duration(7500.0), "2 h 5 min");
    }
}
