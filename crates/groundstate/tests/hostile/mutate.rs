//! Changes to bytes that damage files in the ways that parsers mind.

use rand::RngExt;
use rand::rngs::StdRng;

/// Numbers at the edges of ranges.
const INTEGERS: [u64; 14] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x0001_0000,
    100_000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    u64::MAX,
];

/// What a number in a text is replaced by.
const TEXTS: [&str; 18] = [
    "0",
    "-1",
    "1",
    "2",
    "0.5",
    "-0.0",
    "1e-320",
    "1e30",
    "1e300",
    "1e999",
    "4096",
    "4294967296",
    "18446744073709551615",
    "18446744073709551616",
    "null",
    "true",
    "\"x\"",
    "[]",
];

/// Values that arithmetic trips over.
pub(crate) const FLOATS: [f32; 8] =
    [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, 0.0, -0.0, 1e-42];

/// Damages `bytes` once, now and then with a piece of `other`.
pub(crate) fn mutate(bytes: &mut Vec<u8>, other: &[u8], rng: &mut StdRng) {
    if bytes.is_empty() {
        bytes.extend_from_slice(other);
        return;
    }
    let length = bytes.len();
    // Headers are short and matter most.
    let reach = if rng.random_bool(0.5) { length.min(64) } else { length };
    let at = rng.random_range(0..reach);
    let some = rng.random_range(1..=16).min(length - at);
    match rng.random_range(0..10) {
        0 => bytes[at] ^= 1 << rng.random_range(0..8),
        1 => bytes[at] = rng.random(),
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..at + some)),
        4 => bytes.splice(at..at, (0..some).map(|_| rng.random())).for_each(drop),
        5 => {
            let piece = bytes[at..at + some].to_vec();
            bytes.splice(at..at, piece);
        }
        6 if !other.is_empty() => {
            let from = rng.random_range(0..other.len());
            let piece = other[from..].iter().copied().take(64).collect::<Vec<u8>>();
            bytes.splice(at..at + some, piece);
        }
        7 => overwrite(bytes, at, &FLOATS[rng.random_range(0..FLOATS.len())].to_le_bytes()),
        _ => {
            let number = INTEGERS[rng.random_range(0..INTEGERS.len())];
            let width = [1, 2, 4, 8][rng.random_range(0..4)];
            let (little, big) = (number.to_le_bytes(), number.to_be_bytes());
            let written = if rng.random() { &little[..width] } else { &big[8 - width..] };
            overwrite(bytes, at, written);
        }
    }
}

/// Everything that `file` becomes when it is cut off somewhere, or when one bit of it has flipped: the
/// bits take turns from byte to byte.
pub(crate) fn cut_and_flipped(file: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let cut = (0..file.len()).map(|at| file[..at].to_vec());
    let flipped = (0..file.len()).map(|at| {
        let mut flipped = file.to_vec();
        flipped[at] ^= 1 << (at % 8);
        flipped
    });
    cut.chain(flipped)
}

fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) {
    bytes[at..].iter_mut().zip(with).for_each(|(to, from)| *to = *from);
}

/// Damages a text once: mostly one of its numbers, now and then any byte.
pub(crate) fn mutate_text(text: &mut String, other: &str, rng: &mut StdRng) {
    let numbers = numbers(text);
    if numbers.is_empty() || rng.random_bool(0.3) {
        let mut bytes = std::mem::take(text).into_bytes();
        mutate(&mut bytes, other.as_bytes(), rng);
        *text = String::from_utf8_lossy(&bytes).into_owned();
    } else {
        let place = numbers[rng.random_range(0..numbers.len())].clone();
        text.replace_range(place, TEXTS[rng.random_range(0..TEXTS.len())]);
    }
}

/// Where the numbers of a JSON text are.
fn numbers(text: &str) -> Vec<std::ops::Range<usize>> {
    let bytes = text.as_bytes();
    let part = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e');
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let before = at.checked_sub(1).map_or(b' ', |i| bytes[i]);
        let starts =
            (bytes[at].is_ascii_digit() || bytes[at] == b'-') && matches!(before, b':' | b',' | b'[' | b' ');
        let length = if starts { bytes[at..].iter().take_while(|&&byte| part(byte)).count() } else { 0 };
        if length > 0 {
            found.push(at..at + length);
        }
        at += length.max(1);
    }
    found
}
