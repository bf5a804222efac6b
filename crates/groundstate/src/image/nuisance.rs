//! What differs between pictures of equally good parts and says nothing about them.

use std::borrow::Cow;

use super::{Image, Light, Pose, Registration};

/// The pose of the part and the light on it, which are found in every picture and taken out before
/// the energy sees it: E(x) is the lowest over both.
#[derive(Clone, Debug)]
pub struct Nuisance {
    /// The pose that pictures are brought to, where normal ones differ by their pose.
    pub registration: Option<Registration>,
    /// The light that pictures are brought to.
    pub light: Light,
}

impl Nuisance {
    /// Learns pose (if `register`, and if it turns out to matter) and light of square normal pictures.
    ///
    /// # Panics
    /// If there is no picture.
    pub fn fit(pictures: &[Image], register: bool) -> Self {
        let registration = if register { Registration::fit(pictures).0 } else { None };
        let light = Light::fit(pictures, |picture| match &registration {
            None => Cow::Borrowed(picture),
            Some(registration) => Cow::Owned(registration.pose(picture).align(picture)),
        });
        Self { registration, light }
    }

    /// The picture in the common pose and light, and the pose that it had.
    pub fn remove(&self, picture: Image) -> (Pose, Image) {
        let pose = self.registration.as_ref().map_or(Pose::IDENTITY, |r| r.pose(&picture));
        let aligned = if pose == Pose::IDENTITY { picture } else { pose.align(&picture) };
        (pose, self.light.normalise(aligned))
    }
}
