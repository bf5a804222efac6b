//! A model file taken apart and put together again with the digest that its format defines.

use std::collections::HashMap;

use groundstate::artifact::FORMAT_VERSION;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;

const KEY: &str = "groundstate";

/// A model file taken apart.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) description: String,
    pub(crate) tensors: Vec<Tensor>,
}

/// One of its arrays.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) dtype: Dtype,
    pub(crate) bytes: Vec<u8>,
}

impl Tensor {
    /// Bytes of a value.
    pub(crate) fn width(&self) -> usize {
        if self.dtype == Dtype::I8 { 1 } else { 4 }
    }

    /// Replaces a value by one that is rounded to the tensor's type.
    pub(crate) fn set(&mut self, at: usize, value: f32) {
        let (width, byte) = (self.width(), (value as i8).to_le_bytes());
        let single = value.to_le_bytes();
        let value = if width == 1 { &byte[..] } else { &single[..] };
        self.bytes[at * width..][..width].copy_from_slice(value);
    }
}

impl Parts {
    pub(crate) fn of(file: &[u8]) -> Self {
        let (_, header) = SafeTensors::read_metadata(file).unwrap();
        let envelope: Value = serde_json::from_str(&header.metadata().as_ref().unwrap()[KEY]).unwrap();
        let tensors = SafeTensors::deserialize(file).unwrap();
        let mut tensors: Vec<_> = tensors
            .iter()
            .map(|(name, view)| Tensor {
                name: name.to_owned(),
                shape: view.shape().to_vec(),
                dtype: view.dtype(),
                bytes: view.data().to_vec(),
            })
            .collect();
        tensors.sort();
        Self { description: envelope["detector"].to_string(), tensors }
    }

    /// The file again, with the digest that the format's documentation defines.
    pub(crate) fn sealed(&self) -> Vec<u8> {
        let mut sorted: Vec<_> = self.tensors.iter().collect();
        sorted.sort();
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(self.description.len() as u64).to_le_bytes());
        hasher.update(self.description.as_bytes());
        for Tensor { name, shape, dtype, bytes } in sorted {
            hasher.update(format!("{name} {shape:?} {dtype:?}\n").as_bytes()).update(bytes);
        }
        let digest = hasher.finalize().to_hex();
        let envelope = format!(
            r#"{{"format_version":{FORMAT_VERSION},"digest":"{digest}","detector":{}}}"#,
            self.description
        );
        let views = self.tensors.iter().filter_map(|Tensor { name, shape, dtype, bytes }| {
            Some((name, TensorView::new(*dtype, shape.clone(), bytes).ok()?))
        });
        safetensors::serialize(views, Some(HashMap::from([(KEY.to_owned(), envelope)]))).unwrap()
    }
}
