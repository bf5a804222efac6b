//! Named arrays on their way to and from the file.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::model::QuantisedRows;

/// Values that are brought to bytes at once to be hashed: a copy of a whole tensor would cost as much as it.
const HASHED_AT_ONCE: usize = 1 << 14;

/// The values of an array, in single precision or one byte each.
enum Values {
    Single(Vec<f32>),
    Byte(Vec<i8>),
}

/// Shape and values of an array in single precision.
pub(super) type Shaped = (Vec<usize>, Vec<f32>);

/// Arrays by name: shape and values.
#[derive(Default)]
pub(super) struct Tensors(BTreeMap<String, (Vec<usize>, Values)>);

impl Values {
    fn of(name: &str, view: &TensorView) -> Result<Self, String> {
        let bytes = view.data();
        let values = match view.dtype() {
            Dtype::F32 => {
                let of = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
                Self::Single(bytes.chunks_exact(4).map(of).collect())
            }
            Dtype::I8 => Self::Byte(bytes.iter().map(|&byte| byte.cast_signed()).collect()),
            other => return Err(format!("tensor {name} has type {other:?}, expected F32 or I8")),
        };
        match values.first_unusable() {
            None => Ok(values),
            Some((index, value)) => {
                Err(format!("tensor {name} holds {value} at index {index}, expected a finite number"))
            }
        }
    }

    /// The first that is no finite number, and where it is.
    fn first_unusable(&self) -> Option<(usize, f32)> {
        match self {
            Self::Single(values) => {
                let at = values.iter().position(|value| !value.is_finite())?;
                Some((at, values[at]))
            }
            Self::Byte(_) => None,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Single(values) => values.len(),
            Self::Byte(values) => values.len(),
        }
    }

    fn dtype(&self) -> Dtype {
        match self {
            Self::Single(_) => Dtype::F32,
            Self::Byte(_) => Dtype::I8,
        }
    }

    /// Some of them as the file has them.
    fn bytes(&self, some: Range<usize>) -> Vec<u8> {
        match self {
            Self::Single(values) => values[some].iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::Byte(values) => values[some].iter().map(|value| value.cast_unsigned()).collect(),
        }
    }
}

impl Tensors {
    pub(super) fn put(&mut self, name: impl Into<String>, shape: Vec<usize>, values: &[f32]) {
        self.insert(name.into(), shape, Values::Single(values.to_vec()));
    }

    /// Puts rows that have one byte a value, and their scales as an array of their own.
    pub(super) fn put_rows(
        &mut self,
        name: &str,
        shapes: [Vec<usize>; 2],
        QuantisedRows { values, scales }: &QuantisedRows,
    ) {
        let [of_values, of_scales] = shapes;
        self.insert(name.into(), of_values, Values::Byte(values.clone()));
        self.put(format!("{name}_scale"), of_scales, scales);
    }

    fn insert(&mut self, name: String, shape: Vec<usize>, values: Values) {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "{name} has its stated shape");
        self.0.insert(name, (shape, values));
    }

    pub(super) fn take(&mut self, name: &str) -> Result<Shaped, String> {
        self.take_optional(name)?.ok_or_else(|| format!("tensor {name} is missing"))
    }

    pub(super) fn take_optional(&mut self, name: &str) -> Result<Option<Shaped>, String> {
        match self.0.remove(name) {
            None => Ok(None),
            Some((shape, Values::Single(values))) => Ok(Some((shape, values))),
            Some(_) => Err(format!("tensor {name} has type I8, expected F32")),
        }
    }

    /// Takes rows that were put by [`Tensors::put_rows`]; nothing where there are none.
    pub(super) fn take_rows(&mut self, name: &str) -> Result<QuantisedRows, String> {
        let scales =
            self.take_optional(&format!("{name}_scale"))?.map_or_else(Vec::new, |(_, scales)| scales);
        match self.0.remove(name) {
            None => Ok(QuantisedRows { values: Vec::new(), scales }),
            Some((_, Values::Byte(values))) => Ok(QuantisedRows { values, scales }),
            Some(_) => Err(format!("tensor {name} has type F32, expected I8")),
        }
    }

    /// Puts other arrays among these, the names of which then begin with `prefix`.
    pub(super) fn put_all(&mut self, prefix: &str, other: Self) {
        self.0.extend(other.0.into_iter().map(|(name, array)| (format!("{prefix}{name}"), array)));
    }

    /// Takes the arrays whose names begin with `prefix`, without it.
    pub(super) fn take_all(&mut self, prefix: &str) -> Self {
        let all = std::mem::take(&mut self.0);
        let (taken, rest): (BTreeMap<_, _>, _) =
            all.into_iter().partition(|(name, _)| name.starts_with(prefix));
        self.0 = rest;
        Self(taken.into_iter().map(|(name, array)| (name[prefix.len()..].to_owned(), array)).collect())
    }

    /// Takes the arrays whose names begin with `prefix`, without it, which are all in single precision.
    pub(super) fn take_singles(&mut self, prefix: &str) -> Result<Vec<(String, Shaped)>, String> {
        let mut taken = self.take_all(prefix);
        let names: Vec<String> = taken.0.keys().cloned().collect();
        let singles = names.into_iter().map(|name| taken.take(&name).map(|array| (name, array)));
        singles.collect::<Result<_, String>>().map_err(|what| format!("{prefix}: {what}"))
    }

    pub(super) fn expect_empty(&self) -> Result<(), String> {
        match self.0.keys().next() {
            Some(name) => Err(format!("tensor {name} is not expected")),
            None => Ok(()),
        }
    }

    /// BLAKE3 of the description and of every tensor's name, shape, type and bytes.
    pub(super) fn digest(&self, description: &str) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(description.len() as u64).to_le_bytes());
        hasher.update(description.as_bytes());
        for (name, (shape, values)) in &self.0 {
            hasher.update(format!("{name} {shape:?} {:?}\n", values.dtype()).as_bytes());
            for first in (0..values.len()).step_by(HASHED_AT_ONCE) {
                hasher.update(&values.bytes(first..(first + HASHED_AT_ONCE).min(values.len())));
            }
        }
        hasher.finalize().to_hex().to_string()
    }

    pub(super) fn serialise(&self, metadata: HashMap<String, String>) -> Vec<u8> {
        let arrays = self.0.iter();
        let bytes: Vec<(&String, &[usize], Dtype, Vec<u8>)> = arrays
            .map(|(name, (shape, values))| (name, &shape[..], values.dtype(), values.bytes(0..values.len())))
            .collect();
        let views = bytes.iter().map(|(name, shape, dtype, bytes)| {
            let view = TensorView::new(*dtype, shape.to_vec(), bytes).expect("put checked the shape");
            (name, view)
        });
        safetensors::serialize(views, Some(metadata)).expect("few tensors with short names fit the header")
    }

    pub(super) fn deserialise(bytes: &[u8]) -> Result<Self, String> {
        let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
        let mut tensors = Self::default();
        for (name, view) in file.iter() {
            tensors.0.insert(name.to_owned(), (view.shape().to_vec(), Values::of(name, &view)?));
        }
        Ok(tensors)
    }
}
