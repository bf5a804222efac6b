//! Many images through a detector: decoding runs ahead of scoring, memory stays bounded.

use std::sync::mpsc::sync_channel;
use std::thread;

use anyhow::Result;
use groundstate::conditions::Conditions;
use groundstate::detector::{Detail, Detector, Inspection};
use groundstate::image::Image;
use rayon::prelude::*;

/// What of an image is wanted beside the inspection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beside {
    /// Nothing: it is dropped as soon as it is prepared.
    Nothing,
    /// Its pixels, for an overlay; fewer images are in memory at once.
    Pixels,
    /// How it was taken.
    Conditions,
}

/// An inspected image.
pub(crate) struct Inspected {
    /// The image as read, where it was to be kept.
    pub(crate) image: Option<Image>,
    /// How it was taken, where that was asked for.
    pub(crate) conditions: Option<Conditions>,
    /// Its width in pixels.
    pub(crate) width: usize,
    /// Its height in pixels.
    pub(crate) height: usize,
    /// What the detector says of it.
    pub(crate) inspection: Inspection,
}

struct Prepared {
    known: Known,
    input: Image,
}

/// What is known of an image without inspecting it.
struct Known {
    image: Option<Image>,
    conditions: Option<Conditions>,
    width: usize,
    height: usize,
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
    (detail, beside): (Detail, Beside),
    mut each: impl FnMut(Vec<(&'a T, Result<Inspected>)>) -> Result<()>,
) -> Result<()> {
    let threads = rayon::current_num_threads();
    // Images that keep their size may be large, and each keeps all threads busy.
    let group = match beside {
        _ if detector.preprocessing.is_tiled() => 1,
        Beside::Pixels => threads.max(4),
        Beside::Nothing | Beside::Conditions => (4 * threads).max(8),
    };
    let prepare = |item: &T| -> Result<Prepared> {
        let image = read(item)?;
        let input = detector.prepare(&image);
        let (width, height) = (image.width, image.height);
        let conditions =
            (beside == Beside::Conditions).then(|| Conditions::of(&image, detector.roi.as_ref()));
        let image = (beside == Beside::Pixels).then_some(image);
        Ok(Prepared { known: Known { image, conditions, width, height }, input })
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
            each(items.iter().zip(score(detector, detail, prepared)).collect())?;
        }
        Ok(())
    })
}

/// Inspects those that could be read.
fn score(detector: &Detector, detail: Detail, prepared: Vec<Result<Prepared>>) -> Vec<Result<Inspected>> {
    let mut inputs = Vec::new();
    let rest: Vec<Result<Known>> = prepared
        .into_iter()
        .map(|prepared| {
            let Prepared { known, input } = prepared?;
            inputs.push(input);
            Ok(known)
        })
        .collect();
    let mut inspections = detector.inspect_prepared(&inputs, detail).into_iter();
    rest.into_iter()
        .map(|known| {
            let Known { image, conditions, width, height } = known?;
            let inspection = inspections.next().expect("every input was inspected");
            Ok(Inspected { image, conditions, width, height, inspection })
        })
        .collect()
}
