//! What differs between pictures of equally good parts and says nothing about them.

use rayon::prelude::*;

use super::{Image, Light, Pose, Registration, Tone};

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
    /// Learns pose (if `register`, and if it turns out to matter) and light of square normal pictures,
    /// and takes them out of those: each comes back with the pose that it had and with the tone, as from
    /// [`Nuisance::remove`].
    ///
    /// # Panics
    /// If there is no picture.
    pub fn fit(pictures: Vec<Image>, register: bool, tone: Tone) -> (Self, Vec<Pose>, Vec<Image>) {
        let registration = if register { Registration::fit(&pictures).0 } else { None };
        let (poses, aligned): (Vec<Pose>, Vec<Image>) =
            pictures.into_par_iter().map(|picture| align(registration.as_ref(), picture)).unzip();
        let light = Light::fit(&aligned);
        let pictures = aligned.into_par_iter().map(|picture| light.normalise(picture, tone)).collect();
        (Self { registration, light }, poses, pictures)
    }

    /// The picture in the common pose and light, with a tone, and the pose that it had.
    pub fn remove(&self, picture: Image, tone: Tone) -> (Pose, Image) {
        let (pose, aligned) = align(self.registration.as_ref(), picture);
        (pose, self.light.normalise(aligned, tone))
    }
}

/// The pose of a picture and the picture brought to the template's.
fn align(registration: Option<&Registration>, picture: Image) -> (Pose, Image) {
    let pose = registration.map_or(Pose::IDENTITY, |registration| registration.pose(&picture));
    let aligned = if pose == Pose::IDENTITY { picture } else { pose.align(&picture) };
    (pose, aligned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_come_back_from_the_fit_as_any_other_would() {
        // A bright bar on a dark ground, a little out of place and under changing light.
        let picture = |number: usize| {
            let (left, gain) = (20 + number % 5, 0.7 + 0.02 * (number % 7) as f32);
            let value = |i: usize| if (left..left + 12).contains(&(i % 64)) { 0.9 } else { 0.3 };
            let pixels = (0..64 * 64).map(|i| gain * value(i)).collect();
            Image { width: 64, height: 64, channels: 1, pixels }
        };
        let pictures: Vec<Image> = (0..12).map(picture).collect();
        let (nuisance, poses, removed) = Nuisance::fit(pictures.clone(), true, Tone::Logarithmic);
        assert!(nuisance.registration.is_some() && poses.iter().any(|pose| *pose != Pose::IDENTITY));
        for (picture, expected) in pictures.into_iter().zip(poses.into_iter().zip(removed)) {
            assert_eq!(nuisance.remove(picture, Tone::Logarithmic), expected);
        }
    }
}
