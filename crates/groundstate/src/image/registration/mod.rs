//! Where the part lies: bringing every picture to the pose of one template.
//!
//! The energy of a picture whose part may lie anywhere is the lowest over its poses,
//! E(x) = min_z E(x; z), where z is a turn and a shift. [`Registration`] finds z against a template,
//! the mean of the normal pictures, on small pictures of brightness: for parts that lie in any
//! direction by trying every direction and shift (correlation in Fourier space, De Castro and
//! Morandi 1987 use the same theorem), then, and for parts that are only a little out of place at
//! once, by Gauss–Newton steps on the squared difference (Lucas and Kanade 1981).
//!
//! Whether pictures are registered at all is decided by the normal pictures: only if it explains
//! most of what differs between them.

mod pose;
mod proxy;
mod refine;
mod search;

pub use pose::Pose;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Image, Map};
use proxy::Proxy;
use refine::Refiner;
use search::Searcher;

/// Pictures that the template is made of; more sharpen it no further.
const TEMPLATE_PICTURES: usize = 64;
/// Rounds of registering the pictures to their mean.
const ROUNDS: usize = 3;
/// A reach is worth its risk if at most this share of what was unexplained is left by it.
const LEFT: f64 = 0.5;

/// How far a part may be from the template's pose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// A little turned or shifted.
    Near,
    /// In any direction, shifted by up to half the picture.
    Free,
}

/// The template that pictures are brought to the pose of.
#[derive(Clone, Debug)]
pub struct Registration {
    reach: Reach,
    template: Map,
    refiners: [Refiner; 2],
    searcher: Option<Searcher>,
}

/// The share of the normal pictures' mean square that their mean does not explain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Unexplained {
    /// As the pictures are.
    pub as_they_are: f64,
    /// After [`Reach::Near`].
    pub near: f64,
    /// After [`Reach::Free`].
    pub free: f64,
}

impl Registration {
    /// Edge of the template in pixels.
    pub const TEMPLATE_PX: usize = Proxy::FINE;

    /// Finds out whether square normal pictures differ by the pose of the part, and if so, the
    /// template to register them to.
    pub fn fit(pictures: &[Image]) -> (Option<Self>, Unexplained) {
        let every = pictures.len().div_ceil(TEMPLATE_PICTURES).max(1);
        let proxies: Vec<Proxy> = pictures.par_iter().step_by(every).map(Proxy::of).collect();
        if proxies.len() < 2 {
            return (None, Unexplained::default());
        }
        let as_they_are = unexplained(&proxies, &vec![Pose::IDENTITY; proxies.len()]);
        let (near, left_by_near) = Self::converge(Reach::Near, mean(&proxies, None), &proxies);
        let (free, left_by_free) = Self::converge(Reach::Free, proxies[0].fine().clone(), &proxies);
        let unexplained = Unexplained { as_they_are, near: left_by_near, free: left_by_free };
        let chosen = if left_by_free < LEFT * left_by_near.min(as_they_are) {
            Some(free)
        } else if left_by_near < LEFT * as_they_are {
            Some(near)
        } else {
            None
        };
        (chosen, unexplained)
    }

    /// A registration to a template, as after loading: [`Registration::TEMPLATE_PX`] square.
    ///
    /// # Errors
    /// When the template has another shape, or a value that no picture has in units of its root mean square.
    pub fn new(reach: Reach, template: Map) -> Result<Self, String> {
        let edge = Self::TEMPLATE_PX;
        if (template.width, template.height) != (edge, edge) {
            return Err(format!(
                "the template has {} × {} pixels, expected {edge} × {edge}",
                template.width, template.height
            ));
        }
        // All that is bright about a picture may be one of its edge² pixels; correlations would overflow far
        // beyond.
        let limit = 2.0 * edge as f32;
        if let Some(value) = template.values.iter().find(|v| !(-limit..=limit).contains(*v)) {
            return Err(format!("the template holds {value}, expected at most {limit}, without its sign"));
        }
        Ok(Self::to(reach, template))
    }

    fn to(reach: Reach, template: Map) -> Self {
        let levels = Proxy::from_fine(template.clone());
        Self {
            reach,
            refiners: [Refiner::new(levels.middle()), Refiner::new(levels.fine())],
            searcher: (reach == Reach::Free).then(|| Searcher::new(levels.coarse())),
            template,
        }
    }

    fn converge(reach: Reach, template: Map, proxies: &[Proxy]) -> (Self, f64) {
        let mut registration = Self::to(reach, template);
        let mut poses = Vec::new();
        for _ in 0..ROUNDS {
            poses = proxies.par_iter().map(|proxy| registration.pose_of(proxy)).collect();
            registration = Self::to(reach, mean(proxies, Some(&poses)));
        }
        (registration, unexplained(proxies, &poses))
    }

    /// How far parts may be from the template's pose.
    pub fn reach(&self) -> Reach {
        self.reach
    }

    /// The template: brightness of the mean normal picture, less that of its border, in units of its
    /// root mean square.
    pub fn template(&self) -> &Map {
        &self.template
    }

    /// The pose of the part in a square picture.
    pub fn pose(&self, picture: &Image) -> Pose {
        self.pose_of(&Proxy::of(picture))
    }

    fn pose_of(&self, proxy: &Proxy) -> Pose {
        let starts = match &self.searcher {
            Some(searcher) => searcher.best(proxy.coarse()),
            None => vec![Pose::IDENTITY],
        };
        let [middle, fine] = &self.refiners;
        let refined = starts.into_iter().map(|start| middle.refine(proxy.middle(), start));
        let (best, _) = refined.min_by(|a, b| a.1.total_cmp(&b.1)).expect("there is at least one start");
        fine.refine(proxy.fine(), best).0
    }
}

/// Mean of the pictures brought to the template's pose.
fn mean(proxies: &[Proxy], poses: Option<&[Pose]>) -> Map {
    let mut sum = Map::filled(Proxy::FINE, Proxy::FINE, 0.0);
    for (i, proxy) in proxies.iter().enumerate() {
        let aligned = poses.map_or_else(|| proxy.fine().clone(), |poses| poses[i].align_map(proxy.fine()));
        for (to, from) in sum.values.iter_mut().zip(&aligned.values) {
            *to += from / proxies.len() as f32;
        }
    }
    sum
}

/// The share of the aligned pictures' mean square that their mean does not explain. Both shrink alike
/// by the blur of interpolation, which makes a variance alone look better than it is.
fn unexplained(proxies: &[Proxy], poses: &[Pose]) -> f64 {
    let aligned: Vec<Map> = proxies.iter().zip(poses).map(|(p, pose)| pose.align_map(p.fine())).collect();
    let mean = mean(proxies, Some(poses));
    let square = |values: &[f32]| values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>();
    let all = aligned.iter().map(|map| square(&map.values)).sum::<f64>() / aligned.len() as f64;
    if all > 0.0 { 1.0 - square(&mean.values) / all } else { 0.0 }
}

#[cfg(test)]
mod tests;
