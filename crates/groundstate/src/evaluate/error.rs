//! Why test images could not be evaluated.

/// Why test images could not be evaluated. Images are named by their path in the data set.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EvaluateError {
    /// There is nothing to evaluate.
    #[error("no test image was inspected; at least one is needed")]
    NoImages,
    /// The default score is not among the scores.
    #[error("there is no score `{score}`; the images have: {known}")]
    DefaultScore {
        /// The name asked for.
        score: String,
        /// The names there are.
        known: String,
    },
    /// Two images share a name.
    #[error("{name}: the name occurs twice among the test images")]
    DuplicateName {
        /// The image.
        name: String,
    },
    /// An image has other scores than the first one.
    #[error("{name}: has the scores {found}; the first image has {expected}")]
    ScoreNames {
        /// The image.
        name: String,
        /// Its score names.
        found: String,
        /// Those of the first image.
        expected: String,
    },
    /// An image has other maps than the first one.
    #[error("{name}: has the maps {found}; the first image has {expected}")]
    MapNames {
        /// The image.
        name: String,
        /// Its map names.
        found: String,
        /// Those of the first image.
        expected: String,
    },
    /// A score is NaN or infinite.
    #[error("{name}: the score `{score}` is {value}; expected a finite number")]
    Score {
        /// The image.
        name: String,
        /// The score.
        score: String,
        /// The value found.
        value: f64,
    },
    /// A pixel of a map is NaN or infinite.
    #[error("{name}: the {map} map holds {value} at row {row}, column {column}; expected a finite number")]
    Pixel {
        /// The image.
        name: String,
        /// The map.
        map: String,
        /// Row, from the top.
        row: usize,
        /// Column, from the left.
        column: usize,
        /// The value found.
        value: f32,
    },
    /// A map is not as large as the image's default map, or not as large as it says.
    #[error(
        "{name}: the {map} map is {} × {} with {} values; expected {} × {}",
        found.0, found.1, found.2, expected.0, expected.1
    )]
    MapSize {
        /// The image.
        name: String,
        /// The map.
        map: String,
        /// Width, height, number of values.
        found: (usize, usize, usize),
        /// Width and height of the default map.
        expected: (usize, usize),
    },
    /// A mask is not as large as the map.
    #[error(
        "{name}: the mask is {} × {} with {} values; the map is {} × {}",
        found.0, found.1, found.2, expected.0, expected.1
    )]
    MaskSize {
        /// The image.
        name: String,
        /// Width, height, number of values.
        found: (usize, usize, usize),
        /// Width and height of the map.
        expected: (usize, usize),
    },
    /// Label and mask contradict each other.
    #[error("{name}: labelled normal, but its mask marks a defect")]
    DefectInNormal {
        /// The image.
        name: String,
    },
}
