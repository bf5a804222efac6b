//! Many images through a detector: decoding runs ahead of scoring, memory stays bounded.

use std::sync::mpsc::sync_channel;
use std::thread;

use anyhow::Result;
use groundstate::detector::{Detector, Inspection};
use groundstate::image::Image;
use rayon::prelude::*;

/// Whether an image's own pixels are wanted beside the inspection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pixels {
    /// Kept, for an overlay; fewer images are in memory at once.
    Keep,
    /// Dropped as soon as the image is prepared.
    Drop,
}

/// An inspected image.
pub(crate) struct Inspected {
    /// The image as read, where it was to be kept.
    pub(crate) image: Option<Image>,
    /// Its width in pixels.
    pub(crate) width: usize,
    /// Its height in pixels.
    pub(crate) height: usize,
    /// What the detector says of it.
    pub(crate) inspection: Inspection,
}

struct Prepared {
    image: Option<Image>,
    width: usize,
    height: usize,
    input: Image,
}

/// Reads every item with `read`, inspects it, and hands the results to `each` in the order of the
/// items, some at a time.
///
/// While some images are scored the next ones are read; no more than two groups are in memory. An
/// item that cannot be read arrives as an error and does not stop the others.
///
/// # Errors
/// Whatever `each` fails with, at once.
pub(crate) fn inspect_all<'a, T: Sync>(
    detector: &Detector,
    items: &'a [T],
    read: impl Fn(&T) -> Result<Image> + Sync,
    pixels: Pixels,
    mut each: impl FnMut(Vec<(&'a T, Result<Inspected>)>) -> Result<()>,
) -> Result<()> {
    let threads = rayon::current_num_threads();
    let group = match pixels {
        Pixels::Keep => threads.max(4),
        Pixels::Drop => (4 * threads).max(16),
    };
    let prepare = |item: &T| -> Result<Prepared> {
        let image = read(item)?;
        let input = detector.preprocessing.apply(&image);
        let (width, height) = (image.width, image.height);
        Ok(Prepared { image: (pixels == Pixels::Keep).then_some(image), width, height, input })
    };
    thread::scope(|scope| {
        // Without room in the channel the reader waits with one group in hand.
        let (sender, receiver) = sync_channel(0);
        scope.spawn(move || {
            for items in items.chunks(group) {
                let prepared: Vec<Result<Prepared>> = items.par_iter().map(&prepare).collect();
                if sender.send((items, prepared)).is_err() {
                    return;
                }
            }
        });
        for (items, prepared) in receiver {
            each(items.iter().zip(score(detector, prepared)).collect())?;
        }
        Ok(())
    })
}

/// Inspects those that could be read.
fn score(detector: &Detector, prepared: Vec<Result<Prepared>>) -> Vec<Result<Inspected>> {
    let mut inputs = Vec::new();
    let rest: Vec<Result<(Option<Image>, usize, usize)>> = prepared
        .into_iter()
        .map(|prepared| {
            let Prepared { image, width, height, input } = prepared?;
            inputs.push(input);
            Ok((image, width, height))
        })
        .collect();
    let mut inspections = detector.inspect_prepared(&inputs).into_iter();
    rest.into_iter()
        .map(|known| {
            let (image, width, height) = known?;
            let inspection = inspections.next().expect("every input was inspected");
            Ok(Inspected { image, width, height, inspection })
        })
        .collect()
}
