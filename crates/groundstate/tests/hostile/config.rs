//! Target: the training configuration.

use groundstate::train::TrainConfig;
use rand::RngExt;
use rand::rngs::StdRng;

use crate::corpus;
use crate::fuzz::{Turn, Verdict};
use crate::mutate::{cut_and_flipped, mutate_text};

/// A configuration that is accepted is the same after writing and reading.
fn check(bytes: &[u8]) -> Verdict {
    let Ok(config) = serde_json::from_slice::<TrainConfig>(bytes) else { return Verdict::Refused };
    match config.check() {
        Ok(config) => {
            let text = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<TrainConfig>(&text).unwrap(), config, "{text}");
            Verdict::Accepted
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.lines().count() == 1, "{text:?}");
            Verdict::Refused
        }
    }
}

/// A region of interest is drawn at the resolution that the model sees, at most 4096 × 4096.
fn limit(length: usize) -> usize {
    64 * length + (17 << 20)
}

#[test]
fn a_configuration_that_is_cut_off_or_has_a_flipped_bit_anywhere_is_accepted_or_refused() {
    let turn = Turn::take();
    for config in corpus::every_config() {
        let text = serde_json::to_vec(&config).unwrap();
        turn.run("damaged config", &mut cut_and_flipped(&text), check, limit);
    }
}

#[test]
fn mutated_configurations_are_accepted_or_refused() {
    let turn = Turn::take();
    let corpus: Vec<String> =
        corpus::every_config().iter().map(|config| serde_json::to_string(config).unwrap()).collect();
    let make = |rng: &mut StdRng| {
        let mut pick = || &corpus[rng.random_range(0..corpus.len())];
        let (mut text, other) = (pick().clone(), pick());
        for _ in 0..rng.random_range(1..=3) {
            mutate_text(&mut text, other, rng);
        }
        text.into_bytes()
    };
    turn.fuzz("config", make, check, limit);
}
