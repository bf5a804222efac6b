//! What differs between pictures of equally good parts and says nothing about them.

use rayon::prelude::*;

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
        let light = match &registration {
            None => Light::fit(pictures),
            Some(registration) => {
                let align = |picture: &Image| registration.pose(picture).align(picture);
                Light::fit(&pictures.par_iter().map(align).collect::<Vec<Image>>())
            }
        };
        Self { registration, light }
    }

    /// The picture in the common pose and light, and the pose that it had.
    pub fn remove(&self, picture: &Image) -> (Pose, Image) {
        match &self.registration {
            None => (Pose::IDENTITY, self.light.normalise(picture.clone())),
            Some(registration) => {
                let pose = registration.pose(picture);
                (pose, self.light.normalise(pose.align(picture)))
            }
        }
    }
}
