//! Parameters from tensors that were read from somewhere.

use thiserror::Error;

use super::Parameters;
use crate::network::Network;

/// Why a set of tensors are not the parameters of a network.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParametersError {
    /// A tensor is absent.
    #[error("tensor {name} is missing; expected shape {expected:?}")]
    Missing {
        /// Its name.
        name: String,
        /// The shape it should have.
        expected: Vec<usize>,
    },
    /// A tensor of a name the network does not have.
    #[error("tensor {name} belongs to no layer of this network")]
    Unknown {
        /// Its name.
        name: String,
    },
    /// A tensor was given twice.
    #[error("tensor {name} was given twice")]
    Repeated {
        /// Its name.
        name: String,
    },
    /// A tensor has another shape.
    #[error("tensor {name} has shape {found:?}, expected {expected:?}")]
    Shape {
        /// Its name.
        name: String,
        /// Shape found.
        found: Vec<usize>,
        /// Shape the network needs.
        expected: Vec<usize>,
    },
    /// A tensor's values do not fill its shape.
    #[error("tensor {name} of shape {shape:?} has {found} values")]
    Length {
        /// Its name.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Values found.
        found: usize,
    },
    /// A value is infinite or not a number.
    #[error("tensor {name} has a value that is not finite, at index {index}")]
    NotFinite {
        /// Its name.
        name: String,
        /// Flat index of the first such value.
        index: usize,
    },
}

impl Parameters {
    /// Takes the parameters of `network` from named tensors in any order.
    ///
    /// # Errors
    /// When a tensor is missing, unknown, repeated, of the wrong shape or length, or not finite.
    pub fn from_tensors<'a>(
        network: &Network,
        tensors: impl IntoIterator<Item = (&'a str, &'a [usize], &'a [f32])>,
    ) -> Result<Parameters, ParametersError> {
        let mut parameters = Parameters::zeros(network);
        let mut seen = vec![false; parameters.tensors.len()];
        for (name, shape, values) in tensors {
            let Some(place) = parameters.tensors.iter().position(|t| t.name == name) else {
                return Err(ParametersError::Unknown { name: name.to_owned() });
            };
            if std::mem::replace(&mut seen[place], true) {
                return Err(ParametersError::Repeated { name: name.to_owned() });
            }
            let tensor = &mut parameters.tensors[place];
            let name = || name.to_owned();
            if tensor.shape != shape {
                let expected = tensor.shape.clone();
                return Err(ParametersError::Shape { name: name(), found: shape.to_vec(), expected });
            }
            if tensor.data.len() != values.len() {
                let shape = shape.to_vec();
                return Err(ParametersError::Length { name: name(), shape, found: values.len() });
            }
            if let Some(index) = values.iter().position(|v| !v.is_finite()) {
                return Err(ParametersError::NotFinite { name: name(), index });
            }
            tensor.data.copy_from_slice(values);
        }
        match seen.iter().position(|&s| !s) {
            Some(absent) => {
                let tensor = &parameters.tensors[absent];
                Err(ParametersError::Missing { name: tensor.name.clone(), expected: tensor.shape.clone() })
            }
            None => Ok(parameters),
        }
    }
}
