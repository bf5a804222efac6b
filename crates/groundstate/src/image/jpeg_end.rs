//! Whether a JPEG stream reaches its end marker.
//!
//! JPEG decoders, the one used here included, fill what is missing with grey and report success. A
//! grey half would be inspected as if it were the part, so cut-off files are looked for here.

/// True if the stream holds an end-of-image marker outside of metadata segments (ITU-T T.81, B.1).
///
/// A thumbnail inside an EXIF segment has its own end marker; segments are therefore skipped by
/// their length. Bytes after the end marker, which some cameras write, are allowed.
pub(super) fn reaches_end(bytes: &[u8]) -> bool {
    const START_OF_IMAGE: u8 = 0xD8;
    const END_OF_IMAGE: u8 = 0xD9;
    let mut at = 0;
    while let Some(&[prefix, marker]) = bytes.get(at..at + 2) {
        match (prefix, marker) {
            (0xFF, END_OF_IMAGE) => return true,
            // Fill byte: the marker proper comes later.
            (0xFF, 0xFF) => at += 1,
            // A stuffed zero, restart markers and others without a length field.
            (0xFF, 0x00 | 0x01 | 0xD0..=0xD7 | START_OF_IMAGE) => at += 2,
            (0xFF, _) => {
                let Some(&[high, low]) = bytes.get(at + 2..at + 4) else { return false };
                at += 2 + usize::from(u16::from_be_bytes([high, low]));
            }
            // Entropy-coded data.
            _ => at += 1,
        }
    }
    false
}
