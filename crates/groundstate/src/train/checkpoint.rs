//! Checkpoints: what a killed training needs to go on as if nothing had happened.
//!
//! A checkpoint is one file beside the model: a line of text with the format's version, the BLAKE3
//! digest of what follows, then the identity of the training and its state in the postcard format. It
//! is replaced as a whole, so whenever the power fails there is the old one or the new one. A training
//! that goes on from one ends in the same model, bit for bit, as one that was never interrupted, on the
//! same machine; hence another configuration, other pictures and another version are refused.

use std::cell::Cell;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::TrainConfig;
use crate::image::{Image, remove_if_there, remove_leftovers, write_atomically};

/// How a checkpoint begins; another format begins otherwise.
const MAGIC: &[u8] = b"groundstate checkpoint 1\n";
/// Most parts that a training has.
pub(super) const PARTS: usize = 2;
const DIGEST_BYTES: usize = blake3::OUT_LEN;
/// No training of this version comes near; a larger file is not read into memory.
const MAX_BYTES: u64 = 16 << 30;

/// Where and how often a training is saved.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    /// The file.
    pub path: PathBuf,
    /// Least wall time between two; zero saves after every step. It changes nothing in the result.
    pub every: Duration,
    /// Whether to go on from the file, if there is one.
    pub resume: bool,
}

impl Checkpoints {
    /// Removes the file, or the files of a training in several parts, and what a killed process left beside it, once the model is safe.
    ///
    /// # Errors
    /// The operating system's reason; that there is no such file is none.
    pub fn remove(&self) -> io::Result<()> {
        for part in 0..PARTS {
            let path = self.of_part(part).path;
            remove_leftovers(&path)?;
            remove_if_there(&path)?;
        }
        Ok(())
    }

    /// Where one part of a training in several is saved: the first where one in one part would be.
    fn of_part(&self, part: usize) -> Self {
        let mut path = self.path.clone().into_os_string();
        if part > 0 {
            path.push(format!(".{part}"));
        }
        Self { path: path.into(), ..self.clone() }
    }
}

/// Why a checkpoint cannot be written or gone on from.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The system refused.
    #[error("cannot {verb} the checkpoint {}: {source}", path.display())]
    Io {
        /// `read` or `write`.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is none of ours, or has changed since it was written.
    #[error("{} is no checkpoint of this program, or a damaged one; remove it to train anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// It belongs to another training.
    #[error("the checkpoint {} is of another training: {difference}", path.display())]
    Different {
        /// The file.
        path: PathBuf,
        /// What differs.
        difference: String,
    },
}

/// What must be equal for a training to go on.
#[derive(Clone, Serialize, Deserialize)]
struct Identity {
    version: String,
    config: String,
    pictures: [u8; DIGEST_BYTES],
}

impl Identity {
    fn new(config: &TrainConfig, pictures: &[Image]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for picture in pictures {
            for number in [picture.width, picture.height, picture.channels] {
                hasher.update(&(number as u64).to_le_bytes());
            }
            let bytes: Vec<u8> = picture.pixels.iter().flat_map(|value| value.to_le_bytes()).collect();
            hasher.update(&bytes);
        }
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            config: serde_json::to_string(config).expect("a configuration is plain data"),
            pictures: *hasher.finalize().as_bytes(),
        }
    }

    /// How this training differs from the one in a file.
    fn difference(&self, saved: &Self) -> Option<String> {
        if self.version != saved.version {
            return Some(format!("it was saved by version {}, this is {}", saved.version, self.version));
        }
        if self.config != saved.config {
            let here: Value = serde_json::from_str(&self.config).unwrap_or_default();
            let there: Value = serde_json::from_str(&saved.config).unwrap_or_default();
            return Some(
                first_difference("", &there, &here).unwrap_or_else(|| "its settings differ".to_owned()),
            );
        }
        (self.pictures != saved.pictures).then(|| "the training pictures are not the same".to_owned())
    }
}

/// The first setting of two configurations that differs.
fn first_difference(name: &str, there: &Value, here: &Value) -> Option<String> {
    match (there, here) {
        (Value::Object(a), Value::Object(b)) => a.iter().find_map(|(key, value)| {
            let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
            first_difference(&name, value, b.get(key).unwrap_or(&Value::Null))
        }),
        _ if there == here => None,
        _ => Some(format!("{name} is {there} there and {here} here")),
    }
}

/// Saves one training and finds it again.
pub(super) struct Keeper {
    checkpoints: Checkpoints,
    identity: Identity,
    last: Cell<Instant>,
}

impl Keeper {
    pub(super) fn new(checkpoints: &Checkpoints, config: &TrainConfig, pictures: &[Image]) -> Self {
        let identity = Identity::new(config, pictures);
        Self { checkpoints: checkpoints.clone(), identity, last: Cell::new(Instant::now()) }
    }

    /// The keeper of one part of a training in several.
    pub(super) fn of_part(&self, part: usize) -> Self {
        let (checkpoints, identity) = (self.checkpoints.of_part(part), self.identity.clone());
        Self { checkpoints, identity, last: Cell::new(Instant::now()) }
    }

    /// Whether it is time to save.
    pub(super) fn is_due(&self) -> bool {
        self.last.get().elapsed() >= self.checkpoints.every
    }

    /// Replaces the checkpoint by one of `state`.
    ///
    /// # Errors
    /// The file cannot be written; the old one is then as it was.
    pub(super) fn save(&self, state: &impl Serialize) -> Result<(), CheckpointError> {
        let mut bytes = [MAGIC, &[0; DIGEST_BYTES]].concat();
        let content = bytes.len();
        bytes = postcard::to_extend(&(&self.identity, state), bytes).expect("a training is plain data");
        let digest = blake3::hash(&bytes[content..]);
        bytes[MAGIC.len()..content].copy_from_slice(digest.as_bytes());
        let path = &self.checkpoints.path;
        write_atomically(path, &bytes).map_err(|source| CheckpointError::Io {
            verb: "write",
            path: path.clone(),
            source,
        })?;
        self.last.set(Instant::now());
        Ok(())
    }

    /// The state to go on from: `None` where none is asked for or there is no file.
    ///
    /// # Errors
    /// The file cannot be read, is damaged, or is of another training.
    pub(super) fn saved<S: DeserializeOwned>(&self) -> Result<Option<S>, CheckpointError> {
        if !self.checkpoints.resume {
            return Ok(None);
        }
        let path = &self.checkpoints.path;
        let Some(bytes) =
            read(path).map_err(|source| CheckpointError::Io { verb: "read", path: path.clone(), source })?
        else {
            return Ok(None);
        };
        let content = bytes
            .strip_prefix(MAGIC)
            .and_then(|rest| rest.split_at_checked(DIGEST_BYTES))
            .filter(|(digest, content)| blake3::hash(content).as_bytes() == digest)
            .map(|(_, content)| content)
            .ok_or_else(|| self.damaged())?;
        // The state of another version may look otherwise: first the identity alone.
        let (saved, state) = postcard::take_from_bytes::<Identity>(content).map_err(|_| self.damaged())?;
        if let Some(difference) = self.identity.difference(&saved) {
            return Err(CheckpointError::Different { path: path.clone(), difference });
        }
        postcard::from_bytes(state).map(Some).map_err(|_| self.damaged())
    }

    /// For a file whose content does not fit this training.
    pub(super) fn damaged(&self) -> CheckpointError {
        CheckpointError::Damaged { path: self.checkpoints.path.clone() }
    }
}

/// The content of a file, if there is one.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}
