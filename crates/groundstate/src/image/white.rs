//! Which value counts as white: 16-bit files of cameras that measure 10, 12 or 14 bits.
//!
//! PNG and most TIFF files know samples of 8 or 16 bits only. A camera of 12 bits that writes its numbers
//! as they are fills a sixteenth of that range, and its pictures look black. Which part of the range is
//! used is decided once, by all normal pictures together, and belongs to the model.

use super::Image;

/// The whole range of a 16-bit sample.
pub(super) const FULL: u16 = u16::MAX;

/// Highest numbers of cameras of 10, 12 and 14 bits.
const CAMERAS: [u16; 3] = [1023, 4095, 16_383];

/// What the values of a picture, taken as 16-bit numbers, say about the camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels {
    /// The highest number, 0 to 65535.
    pub highest: u16,
    /// Whether some value is none that a file of 8 bits can hold.
    pub fine: bool,
}

impl Levels {
    /// Looks at all values of a picture.
    pub fn of(picture: &Image) -> Self {
        // 65535 = 255 × 257: the numbers of 8 bits are the multiples of 257, whose bytes are equal.
        let (mut highest, mut unequal) = (0, 0);
        for &value in &picture.pixels {
            let number = (value * f32::from(FULL) + 0.5) as u16;
            highest = highest.max(number);
            unequal |= (number >> 8) ^ (number & 255);
        }
        Self { highest, fine: unequal != 0 }
    }
}

/// The number that is white in these pictures: 1023, 4095 or 16383 if none exceeds it and none is of
/// 8 bits, else 65535. Black pictures have no say.
pub fn white_level(pictures: impl IntoIterator<Item = Levels>) -> u16 {
    let mut highest = 0;
    for levels in pictures.into_iter().filter(|levels| levels.highest > 0) {
        if !levels.fine {
            return FULL;
        }
        highest = highest.max(levels.highest);
    }
    let camera = CAMERAS.into_iter().find(|&camera| highest > 0 && highest <= camera);
    camera.unwrap_or(FULL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(numbers: &[u16]) -> Levels {
        let pixels = numbers.iter().map(|&n| f32::from(n) / f32::from(FULL)).collect();
        Levels::of(&Image { width: numbers.len(), height: 1, channels: 1, pixels })
    }

    #[test]
    fn the_least_range_of_a_camera_that_holds_all_pictures_is_taken() {
        for (brightest, expected) in
            [(1023, 1023), (1024, 4095), (4095, 4095), (4096, 16_383), (16_384, FULL)]
        {
            assert_eq!(white_level([levels(&[1, 900]), levels(&[5, brightest])]), expected, "{brightest}");
        }
    }

    #[test]
    fn dark_pictures_of_8_bits_are_no_camera_of_12_bits() {
        let of_8_bits = levels(&[0, 257, 15 * 257]);
        assert_eq!(of_8_bits, Levels { highest: 3855, fine: false });
        assert_eq!(white_level([of_8_bits]), FULL);
        assert_eq!(white_level([levels(&[3, 3000]), of_8_bits]), FULL);
    }

    #[test]
    fn black_pictures_decide_nothing() {
        assert_eq!(white_level([levels(&[0, 0])]), FULL);
        assert_eq!(white_level([levels(&[0, 0]), levels(&[7, 3000])]), 4095);
    }

    #[test]
    fn every_number_of_16_bits_is_found_again() {
        for number in 0..=FULL {
            assert_eq!(levels(&[number]).highest, number);
        }
    }
}
