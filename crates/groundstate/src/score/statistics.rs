//! What the maps of normal pictures look like, position by position.

use crate::image::{Grid, Map, Pose};

/// Pictures' worth of trust in the spread over all positions when the spread at one is estimated.
const PRIOR_PICTURES: f64 = 10.0;

/// Most positions of the statistics, 256 × 256: cells of larger maps share theirs in square blocks.
pub(crate) const MAX_POSITIONS: usize = 65_536;

/// Share of the picture's edge whose features mix with what lies outside.
const UNSEEN_MARGIN: f32 = 0.03;

/// Mean and spread of normal maps at every position; a map of another size than the statistics belongs to
/// a picture of another size, whose positions are the same shares of its width and height.
///
/// The variance at a position is shrunk towards the mean variance of all positions, as if that had
/// been seen on ten more pictures: few normal pictures then do not make a chance calm spot look
/// certain.
#[derive(Clone, Debug, PartialEq)]
pub struct MapStatistics {
    /// Positions across.
    pub width: usize,
    /// Positions down.
    pub height: usize,
    /// Mean at every position.
    pub mean: Vec<f32>,
    /// Standard deviation at every position, positive.
    pub spread: Vec<f32>,
}

/// Why statistics cannot be taken.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum StatisticsError {
    /// Too few maps.
    #[error(
        "found {found} held-out normal pictures, expected at least 2 for the statistics of the {map} map"
    )]
    TooFew {
        /// Which map.
        map: &'static str,
        /// How many there are.
        found: usize,
    },
    /// The energy is broken.
    #[error("the {map} map of held-out normal picture {index} holds a value that is not finite")]
    NotFinite {
        /// Which map.
        map: &'static str,
        /// Which picture, counted from 0.
        index: usize,
    },
}

impl MapStatistics {
    /// Statistics of maps, on the grid of the first of them or a coarser one.
    ///
    /// # Errors
    /// With fewer than two maps, or with values that are not finite.
    pub fn of(map: &'static str, maps: &[Map]) -> Result<Self, StatisticsError> {
        if maps.len() < 2 {
            return Err(StatisticsError::TooFew { map, found: maps.len() });
        }
        if let Some(index) = maps.iter().position(|m| m.values.iter().any(|v| !v.is_finite())) {
            return Err(StatisticsError::NotFinite { map, index });
        }
        let grid = Grid::within(maps[0].width, maps[0].height, MAX_POSITIONS);
        let n = maps.len() as f64;
        let (mut counts, mut means) = (vec![0f64; grid.len()], vec![0f64; grid.len()]);
        for map in maps {
            for (position, &value) in positions(map, grid).zip(&map.values) {
                counts[position] += 1.0;
                means[position] += f64::from(value);
            }
        }
        means.iter_mut().zip(&counts).for_each(|(mean, count)| *mean /= count.max(1.0));
        let mut squares = vec![0f64; grid.len()];
        for map in maps {
            for (position, &value) in positions(map, grid).zip(&map.values) {
                squares[position] += (f64::from(value) - means[position]).powi(2);
            }
        }
        let variances = squares.iter().zip(&counts).map(|(sum, count)| sum / (count - 1.0).max(1.0));
        let moments: Vec<(f64, f64)> = means.into_iter().zip(variances).collect();
        let everywhere = moments.iter().map(|(_, variance)| variance).sum::<f64>() / moments.len() as f64;
        let shrink = |variance: f64| (n * variance + PRIOR_PICTURES * everywhere) / (n + PRIOR_PICTURES);
        let spread = |variance: f64| (shrink(variance).sqrt() as f32).max(f32::MIN_POSITIVE);
        Ok(Self {
            width: grid.columns,
            height: grid.rows,
            mean: moments.iter().map(|&(mean, _)| mean as f32).collect(),
            spread: moments.iter().map(|&(_, variance)| spread(variance)).collect(),
        })
    }

    /// Gives positions that lie outside the picture, or closer than [`UNSEEN_MARGIN`] to its border, in
    /// its `pose` their mean.
    pub(super) fn fill_unseen(&self, map: &mut Map, pose: &Pose) {
        if *pose == Pose::IDENTITY {
            return;
        }
        let positions = positions(map, self.grid());
        for (i, (value, position)) in map.values.iter_mut().zip(positions).enumerate() {
            let share = |at: usize, of: usize| (at as f32 + 0.5) / of as f32;
            let point = pose.place(share(i % map.width, map.width), share(i / map.width, map.height));
            if point.iter().any(|p| !(UNSEEN_MARGIN..1.0 - UNSEEN_MARGIN).contains(p)) {
                *value = self.mean[position];
            }
        }
    }

    /// (map − mean) / spread, of a map of any size.
    pub fn normalise(&self, map: &Map) -> Map {
        self.normalise_by(map, |spread| spread)
    }

    /// (map − mean) / ½ (spread + mean spread of all positions), of a map of any size.
    ///
    /// Where a position says little of what the next picture shows there, its spread should count for little, too
    /// (a moderated statistic, as of Tusher et al. 2001, *Significance analysis of microarrays*).
    pub fn moderate(&self, map: &Map) -> Map {
        let mean =
            self.spread.iter().map(|&spread| f64::from(spread)).sum::<f64>() / self.spread.len() as f64;
        self.normalise_by(map, |spread| 0.5 * (spread + mean as f32))
    }

    fn normalise_by(&self, map: &Map, spread: impl Fn(f32) -> f32) -> Map {
        let positions = positions(map, self.grid()).zip(&map.values);
        let values = positions.map(|(at, value)| (value - self.mean[at]) / spread(self.spread[at]));
        Map { values: values.collect(), ..*map }
    }

    fn grid(&self) -> Grid {
        Grid { columns: self.width, rows: self.height }
    }
}

/// The position of every value of a map.
fn positions(map: &Map, grid: Grid) -> impl Iterator<Item = usize> + use<> {
    let cells = Grid { columns: map.width, rows: map.height };
    let columns: Vec<usize> = (0..map.width).map(|x| grid.of_cell(x, 0, cells)).collect();
    (0..map.height).flat_map(move |y| {
        let row = grid.of_cell(0, y, cells);
        columns.clone().into_iter().map(move |column| row + column)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maps() -> Vec<Map> {
        (0..40)
            .map(|i| Map { width: 2, height: 1, values: vec![(i % 2) as f32, 10.0 + 4.0 * (i % 2) as f32] })
            .collect()
    }

    #[test]
    fn normalised_normal_maps_have_mean_zero_at_every_position() {
        let statistics = MapStatistics::of("energy", &maps()).unwrap();
        for position in 0..2 {
            let sum: f32 = maps().iter().map(|map| statistics.normalise(map).values[position]).sum();
            assert!(sum.abs() < 1e-4);
        }
    }

    #[test]
    fn a_moderated_spread_is_half_that_of_all_positions() {
        let statistics = MapStatistics::of("energy", &maps()).unwrap();
        let one = Map { values: statistics.mean.iter().map(|mean| mean + 1.0).collect(), ..maps()[0] };
        let [narrow, wide] = statistics.spread[..] else { panic!("two positions") };
        let expected = [4.0 / (3.0 * narrow + wide), 4.0 / (narrow + 3.0 * wide)];
        let found = statistics.moderate(&one).values;
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?} {expected:?}");
    }

    #[test]
    fn spread_lies_between_its_own_and_that_of_all_positions() {
        let statistics = MapStatistics::of("energy", &maps()).unwrap();
        let own = (40f32 / 39.0 * 0.25).sqrt();
        let everywhere = (40f32 / 39.0 * (0.25 + 4.0) / 2.0).sqrt();
        assert!(own < statistics.spread[0] && statistics.spread[0] < everywhere);
        assert!(everywhere < statistics.spread[1] && statistics.spread[1] < 4.0 * own);
    }

    #[test]
    fn what_lies_outside_the_picture_is_as_the_mean() {
        let maps: Vec<Map> = (0..4).map(|i| Map::filled(10, 10, i as f32)).collect();
        let statistics = MapStatistics::of("energy", &maps).unwrap();
        let mut map = Map::filled(10, 10, 9.0);
        statistics.fill_unseen(&mut map, &Pose::IDENTITY);
        assert_eq!(map, Map::filled(10, 10, 9.0));
        // The part lies 30 % further right, so what is 30 % left of the right border was not seen.
        statistics.fill_unseen(&mut map, &Pose { right: 0.3, ..Pose::IDENTITY });
        for row in map.values.chunks_exact(10) {
            assert_eq!(row[..7], [9.0; 7]);
            assert_eq!(row[7..], [1.5; 3]);
        }
    }

    #[test]
    fn a_value_that_is_not_finite_names_its_picture() {
        let mut maps = maps();
        maps[7].values[1] = f32::NAN;
        let error = MapStatistics::of("gradient", &maps).unwrap_err();
        assert_eq!(error, StatisticsError::NotFinite { map: "gradient", index: 7 });
    }
}
