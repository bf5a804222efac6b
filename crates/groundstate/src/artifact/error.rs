//! What can be wrong with a model file.

use std::path::{Path, PathBuf};

/// Why a model file cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The system refused to write.
    #[error("cannot write the model file {}: {source}", path.display())]
    Write {
        /// The target.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The system refused to read.
    #[error("cannot read the model file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is larger than any model.
    #[error("{} is larger than {limit} bytes, expected a model file of groundstate", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Most bytes that are read.
        limit: u64,
    },
    /// Another program's file.
    #[error("{} is a safetensors file of another program, expected a model file of groundstate", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Not the structure of a model file.
    #[error("{} is no model file of groundstate, or a damaged one: {detail}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// A format that this build does not read.
    #[error(
        "{} has model format {found}, this program reads format {expected}: {}",
        path.display(),
        if found > expected { "it was written by a newer groundstate; update this one" } else { "train it again" }
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// Ours.
        expected: u32,
    },
    /// Bytes have changed since it was written.
    #[error("{} is damaged: its digest does not match its content; restore it from a copy", path.display())]
    Digest {
        /// The file.
        path: PathBuf,
    },
    /// The digest holds but the parts do not fit.
    #[error("{} cannot be used: {detail}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        detail: String,
    },
}

/// [`ArtifactError`] of some bytes, before their file is named.
pub(super) enum Damage {
    Foreign,
    Format(String),
    Version { found: u32, expected: u32 },
    Digest,
    Content(String),
}

impl Damage {
    pub(super) fn at(self, path: &Path) -> ArtifactError {
        let path = path.to_owned();
        match self {
            Self::Foreign => ArtifactError::Foreign { path },
            Self::Format(detail) => ArtifactError::Format { path, detail },
            Self::Version { found, expected } => ArtifactError::Version { path, found, expected },
            Self::Digest => ArtifactError::Digest { path },
            Self::Content(detail) => ArtifactError::Content { path, detail },
        }
    }
}
