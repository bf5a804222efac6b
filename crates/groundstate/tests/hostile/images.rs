//! Target: image files.

use std::path::Path;

use groundstate::image::{MAX_DECODED_BYTES, decode};
use rand::RngExt;
use rand::rngs::StdRng;

use crate::corpus;
use crate::fuzz::{Turn, Verdict};
use crate::mutate::{cut_and_flipped, mutate};

fn check(bytes: &[u8]) -> Verdict {
    match decode(bytes, Path::new("hostile")) {
        Ok(image) => {
            assert_eq!(image.pixels.len(), image.width * image.height * image.channels);
            assert!(image.pixels.iter().all(|value| (0.0..=1.0).contains(value)));
            Verdict::Accepted
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains("hostile") && text.lines().count() == 1, "{text:?}");
            Verdict::Refused
        }
    }
}

#[test]
fn mutated_images_are_read_or_refused() {
    let turn = Turn::take();
    let corpus = corpus::images();
    assert!(corpus.iter().all(|sound| matches!(check(sound), Verdict::Accepted)));
    let make = |rng: &mut StdRng| {
        let mut pick = || &corpus[rng.random_range(0..corpus.len())];
        let (mut bytes, other) = (pick().clone(), pick());
        for _ in 0..rng.random_range(1..=4) {
            mutate(&mut bytes, other, rng);
        }
        if rng.random_bool(0.8) {
            mend_png(&mut bytes);
        }
        bytes
    };
    turn.fuzz("image", make, check, |_| MAX_DECODED_BYTES);
}

#[test]
fn an_image_that_is_cut_off_or_has_a_flipped_bit_anywhere_is_read_or_refused() {
    let turn = Turn::take();
    for file in corpus::images() {
        let mut damaged = cut_and_flipped(&file);
        turn.run("damaged image", &mut damaged, check, |_| MAX_DECODED_BYTES);
    }
}

/// Makes the checksums of a PNG right, so that its content is looked at.
fn mend_png(bytes: &mut [u8]) {
    const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
    let mut at = SIGNATURE.len();
    if !bytes.starts_with(SIGNATURE) {
        return;
    }
    while let Some(length) = bytes.get(at..at + 4) {
        let length = u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
        let end = at + 8 + length;
        let Some(content) = bytes.get(at + 4..end) else { return };
        let checksum = crc32(content).to_be_bytes();
        let Some(place) = bytes.get_mut(end..end + 4) else { return };
        place.copy_from_slice(&checksum);
        at = end + 4;
    }
}

/// CRC-32 of PNG (ISO 3309).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[test]
fn a_bomb_of_a_kilobyte_is_refused_in_a_few_kilobytes() {
    let turn = Turn::take();
    let bomb = corpus::announced_png(100_000, 100_000);
    assert!(bomb.len() < 1024);
    let check = |bytes: &[u8]| {
        let text = decode(bytes, Path::new("hostile")).unwrap_err().to_string();
        assert!(text.starts_with("refused to read hostile: the image announces more"), "{text}");
        Verdict::Refused
    };
    turn.fuzz("bomb", |_| bomb.clone(), check, |_| 1 << 17);
}

#[test]
fn a_packed_tiff_that_announces_much_and_holds_little_costs_little() {
    let turn = Turn::take();
    let mut bomb = corpus::packed_tiff(12, 1, false);
    // Of nine entries of 12 bytes: width and height, and a single strip of all rows.
    let entries = bomb.len() - 4 - 9 * 12;
    for (entry, count, value) in [(0, 1, 8192), (1, 1, 8192), (5, 1, 8), (7, 1, 8192), (8, 1, 12)] {
        bomb[entries + 12 * entry + 4..][..4].copy_from_slice(&u32::to_le_bytes(count));
        bomb[entries + 12 * entry + 8..][..4].copy_from_slice(&u32::to_le_bytes(value));
    }
    let check = |bytes: &[u8]| {
        let text = decode(bytes, Path::new("hostile")).unwrap_err().to_string();
        assert!(text.contains("hostile") && text.contains("cut off"), "{text}");
        Verdict::Refused
    };
    turn.fuzz("packed bomb", |_| bomb.clone(), check, |_| 1 << 17);
}

#[test]
fn a_text_chunk_that_unpacks_to_64_megabytes_costs_a_quarter_of_that() {
    let turn = Turn::take();
    let bytes = corpus::text_bomb();
    assert!(bytes.len() < 1 << 20, "{}", bytes.len());
    turn.fuzz("text bomb", |_| bytes.clone(), check, |_| 16 << 20);
}
