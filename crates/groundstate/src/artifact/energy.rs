//! Energies as arrays and a description of their structure.

use groundstate_nn::{Network, Node, Parameters, lower_lengths};
use serde::{Deserialize, Serialize};

use super::arrays::Tensors;
use crate::image::{Grid, MAX_EDGE_PX, Preprocessing};
use crate::model::{
    Energy, EnergyModel, Form, Gaussian, Learned, MAX_POSITIONS, Projection, Reference, STEP_PX, Source,
    TiledGaussian, Tiling, Trunk,
};

/// Most networks that an energy has.
const MAX_NETWORKS: usize = 8;

/// Most layers and links between them that a network may have.
const MAX_LINKS: usize = 4096;
/// Most values that a network may compute for a picture: 2 GiB.
const MAX_ACTIVATIONS: usize = 1 << 29;

/// Structure of an energy; its numbers are tensors.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EnergyDescription {
    reference: Option<ReferenceDescription>,
    learned: Option<LearnedDescription>,
    /// Closed forms on layers of networks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    densities: Vec<ReferenceDescription>,
    /// Absent where pictures are scaled to one size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tiled: Option<GaussianDescription>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LearnedDescription {
    nodes: Vec<Node>,
    noise_level: Option<f32>,
    /// How many networks of this kind there are.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    networks: usize,
}

fn one() -> usize {
    1
}

fn is_one(count: &usize) -> bool {
    *count == 1
}

/// What the names of the tensors of a closed form on layers of a network begin with.
fn density_prefix(number: usize) -> String {
    format!("density{number}.")
}

/// What the names of the tensors of its network begin with, after that.
const TRUNK: &str = "trunk.";

/// What the names of the tensors of a network begin with.
fn prefix(network: usize) -> String {
    match network {
        0 => "learned.".to_owned(),
        _ => format!("learned{network}."),
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReferenceDescription {
    gaussian: GaussianDescription,
    /// Layers of the network that the features are; absent for the pyramid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trunk: Option<Vec<Node>>,
    displacement_px: f32,
    #[serde(default)]
    form: Form,
    offset: f32,
    scale: f32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GaussianDescription {
    columns: usize,
    rows: usize,
    channels: usize,
    dimensions: usize,
}

impl Tensors {
    pub(super) fn put_energy(&mut self, energy: &EnergyModel) -> EnergyDescription {
        EnergyDescription {
            reference: energy.references().first().map(|reference| self.put_reference(reference)),
            learned: self.put_networks(energy.networks()),
            densities: self.put_densities(energy.references().get(1..).unwrap_or_default()),
            tiled: match energy {
                EnergyModel::Tiled(tiled) => Some(self.put_tiled(tiled)),
                _ => None,
            },
        }
    }

    pub(super) fn take_energy(
        &mut self,
        description: EnergyDescription,
        preprocessing: Preprocessing,
    ) -> Result<EnergyModel, String> {
        let reference = description.reference.map(|r| self.take_reference(r, preprocessing)).transpose()?;
        let mut networks = match description.learned {
            Some(learned) => self.take_networks(learned, preprocessing)?,
            None => Vec::new(),
        };
        let tiled = description.tiled.map(|t| self.take_tiled(&t, preprocessing)).transpose()?;
        let densities = self.take_densities(description.densities, preprocessing)?;
        let misplaced = if preprocessing.is_tiled() { reference.is_some() } else { tiled.is_some() };
        if misplaced || (tiled.is_some() && !networks.is_empty()) {
            return Err("the energy does not fit how pictures are brought to size".to_owned());
        }
        if let Some(tiled) = tiled {
            return Ok(EnergyModel::Tiled(tiled));
        }
        let Some(reference) = reference else {
            if !densities.is_empty() {
                return Err("there are densities of layers and no reference energy".to_owned());
            }
            return match (networks.pop(), networks.len()) {
                (Some(learned), 0) => Ok(EnergyModel::Learned(learned)),
                (Some(_), _) => Err("there are several networks and no reference energy".to_owned()),
                (None, _) => Err("there is no energy in it".to_owned()),
            };
        };
        let Some(stride) = networks.first().map(Energy::stride) else {
            return match densities.len() {
                0 => Ok(EnergyModel::Reference(reference)),
                _ => Err("there are densities of layers and no networks".to_owned()),
            };
        };
        let references: Vec<Reference> = std::iter::once(reference).chain(densities).collect();
        match references.iter().map(Energy::stride).find(|cell| !cell.is_multiple_of(stride)) {
            None => Ok(EnergyModel::Tilted(references, networks)),
            Some(cell) => {
                Err(format!("the network's stride {stride} does not divide the cells of {cell} pixels"))
            }
        }
    }

    fn put_densities(&mut self, densities: &[Reference]) -> Vec<ReferenceDescription> {
        let numbered = densities.iter().enumerate();
        numbered
            .map(|(number, density)| {
                let mut own = Self::default();
                let description = own.put_reference(density);
                self.put_all(&density_prefix(number), own);
                description
            })
            .collect()
    }

    fn take_densities(
        &mut self,
        descriptions: Vec<ReferenceDescription>,
        preprocessing: Preprocessing,
    ) -> Result<Vec<Reference>, String> {
        let found = descriptions.len();
        if found > MAX_NETWORKS || descriptions.iter().any(|density| density.trunk.is_none()) {
            return Err(format!(
                "there are {found} densities of layers, expected at most {MAX_NETWORKS}, each with its layers"
            ));
        }
        let numbered = descriptions.into_iter().enumerate();
        numbered
            .map(|(number, description)| {
                let mut own = self.take_all(&density_prefix(number));
                let density = own.take_reference(description, preprocessing)?;
                own.expect_empty().map(|()| density)
            })
            .collect()
    }

    /// `None` for no networks.
    fn put_networks(&mut self, networks: &[Learned]) -> Option<LearnedDescription> {
        for (index, learned) in networks.iter().enumerate() {
            for (name, shape, values) in learned.parameters.iter() {
                self.put(format!("{}{name}", prefix(index)), shape.to_vec(), values);
            }
        }
        networks.first().map(|first| LearnedDescription {
            nodes: first.network.nodes().to_vec(),
            noise_level: first.noise_level,
            networks: networks.len(),
        })
    }

    fn take_networks(
        &mut self,
        description: LearnedDescription,
        preprocessing: Preprocessing,
    ) -> Result<Vec<Learned>, String> {
        let LearnedDescription { nodes, noise_level, networks: count } = description;
        let network = checked_network(nodes, noise_level, preprocessing)?;
        let channels = network.output_channels();
        if channels != 1 {
            return Err(format!("the network has {channels} channels, local energies have 1"));
        }
        if !(1..=MAX_NETWORKS).contains(&count) {
            return Err(format!("there are {count} networks, expected 1 to {MAX_NETWORKS}"));
        }
        (0..count)
            .map(|index| {
                let parameters = self.take_parameters(&network, &prefix(index))?;
                Ok(Learned::new(network.clone(), parameters, noise_level))
            })
            .collect()
    }

    fn take_parameters(&mut self, network: &Network, prefix: &str) -> Result<Parameters, String> {
        let taken = self.take_singles(prefix)?;
        let found = taken.iter().map(|(_, (_, values))| values.len()).sum::<usize>();
        if found != network.parameter_count() {
            return Err(format!("the network has {} parameters, found {found}", network.parameter_count()));
        }
        let tensors = taken.iter().map(|(name, (shape, values))| (&name[..], &shape[..], &values[..]));
        Parameters::from_tensors(network, tensors).map_err(|e| e.to_string())
    }

    fn put_tiled(&mut self, tiled: &TiledGaussian) -> GaussianDescription {
        let &TiledGaussian { positions, channels, dimensions, .. } = tiled;
        let Grid { columns, rows } = positions;
        let features = tiled.centre.len();
        self.put("tiled.centre", vec![features], &tiled.centre);
        self.put("tiled.whitening", vec![dimensions, features], &tiled.whitening);
        self.put("tiled.mean", vec![rows, columns, dimensions], &tiled.mean);
        let (values, scales) = lower_lengths(dimensions);
        let shapes = [vec![rows, columns, values], vec![rows, columns, scales]];
        self.put_rows("tiled.factor", shapes, &tiled.factor);
        GaussianDescription { columns, rows, channels, dimensions }
    }

    fn take_tiled(
        &mut self,
        description: &GaussianDescription,
        preprocessing: Preprocessing,
    ) -> Result<TiledGaussian, String> {
        let &GaussianDescription { columns, rows, channels, dimensions } = description;
        let fits = columns.checked_mul(rows).is_some_and(|count| (1..=MAX_POSITIONS).contains(&count));
        if !fits || channels != preprocessing.channels() {
            return Err(format!(
                "the tiled energy has {columns} × {rows} positions and {channels} channels, expected at most \
                 {MAX_POSITIONS} positions and {} channels",
                preprocessing.channels()
            ));
        }
        let mut values = |name| self.take(name).map(|(_, values)| values);
        let tiled = TiledGaussian {
            positions: Grid { columns, rows },
            channels,
            dimensions,
            centre: values("tiled.centre")?,
            whitening: values("tiled.whitening")?,
            mean: values("tiled.mean")?,
            factor: self.take_rows("tiled.factor")?,
        };
        tiled.check().map_err(|e| e.to_string())
    }

    fn put_reference(&mut self, reference: &Reference) -> ReferenceDescription {
        let Reference { ref gaussian, form, offset, scale } = *reference;
        let displacement_px = gaussian.displacement_px;
        let trunk = match &gaussian.source {
            Source::Pyramid(_) => None,
            Source::Network(trunk) => Some(trunk.network().network.nodes().to_vec()),
        };
        let gaussian = self.put_gaussian(gaussian);
        ReferenceDescription { gaussian, trunk, displacement_px, form, offset, scale }
    }

    fn take_reference(
        &mut self,
        description: ReferenceDescription,
        preprocessing: Preprocessing,
    ) -> Result<Reference, String> {
        let ReferenceDescription { gaussian, trunk, displacement_px, form, offset, scale } = description;
        if !(offset.is_finite() && scale.is_finite() && scale > 0.0) {
            return Err(format!(
                "the reference energy has offset {offset} and scale {scale}, expected a number and a positive one"
            ));
        }
        let source = self.take_source(trunk, preprocessing)?;
        let gaussian = self.take_gaussian(&gaussian, source, displacement_px, preprocessing)?;
        Ok(Reference { gaussian, form, offset, scale })
    }

    fn put_source(&mut self, source: &Source) {
        match source {
            Source::Pyramid(Projection { centre, matrix }) => {
                let features = centre.len();
                self.put("reference.centre", vec![features], centre);
                self.put("reference.whitening", vec![matrix.len() / features, features], matrix);
            }
            Source::Network(trunk) => {
                for (name, shape, values) in trunk.network().parameters.iter() {
                    self.put(format!("{TRUNK}{name}"), shape.to_vec(), values);
                }
            }
        }
    }

    fn take_source(
        &mut self,
        trunk: Option<Vec<Node>>,
        preprocessing: Preprocessing,
    ) -> Result<Source, String> {
        let Some(nodes) = trunk else {
            let mut values = |name| self.take(name).map(|(_, values)| values);
            let (centre, matrix) = (values("reference.centre")?, values("reference.whitening")?);
            return Ok(Source::Pyramid(Projection { centre, matrix }));
        };
        let network = checked_network(nodes, None, preprocessing)?;
        let parameters = self.take_parameters(&network, TRUNK)?;
        let trunk = Trunk::from_network(Learned::new(network, parameters, None));
        trunk
            .map(Source::Network)
            .ok_or_else(|| "the layers of a density do not end at a stride of 8 or 16".to_owned())
    }

    fn put_gaussian(&mut self, gaussian: &Gaussian) -> GaussianDescription {
        let &Gaussian { columns, rows, channels, dimensions, .. } = gaussian;
        let of_cells = |more: &[usize]| [&[rows, columns], more].concat();
        self.put_source(&gaussian.source);
        self.put("reference.mean", of_cells(&[dimensions]), &gaussian.mean);
        let directions = gaussian.directions();
        if directions > 0 {
            let shapes = [of_cells(&[directions, dimensions]), of_cells(&[directions])];
            self.put_rows("reference.variation", shapes, &gaussian.variation);
        }
        let (values, scales) = lower_lengths(dimensions);
        let shapes = [of_cells(&[values]), of_cells(&[scales])];
        self.put_rows("reference.factor", shapes, &gaussian.factor);
        GaussianDescription { columns, rows, channels, dimensions }
    }

    fn take_gaussian(
        &mut self,
        description: &GaussianDescription,
        source: Source,
        displacement_px: f32,
        preprocessing: Preprocessing,
    ) -> Result<Gaussian, String> {
        let &GaussianDescription { columns, rows, channels, dimensions } = description;
        let (size, expected) = (preprocessing.size, preprocessing.channels());
        let edge = |cells: usize| cells.checked_mul(source.cell_px());
        if (edge(columns), edge(rows), channels) != (Some(size), Some(size), expected) {
            return Err(format!(
                "the reference energy has {columns} × {rows} cells and {channels} channels, \
                 which does not fit pictures of {size} × {size} pixels and {expected} channels"
            ));
        }
        let gaussian = Gaussian {
            columns,
            rows,
            channels,
            dimensions,
            displacement_px,
            source,
            mean: self.take("reference.mean")?.1,
            variation: self.take_rows("reference.variation")?,
            factor: self.take_rows("reference.factor")?,
        };
        gaussian.check().map_err(|e| e.to_string())
    }
}

/// A network that takes pictures as they are prepared, at a bounded cost.
fn checked_network(
    nodes: Vec<Node>,
    noise_level: Option<f32>,
    preprocessing: Preprocessing,
) -> Result<Network, String> {
    let links = nodes.iter().map(|node| 1 + node.inputs.len()).sum::<usize>();
    if links > MAX_LINKS {
        return Err(format!("the network has {links} layers and links, expected at most {MAX_LINKS}"));
    }
    let network = Network::new(nodes).map_err(|e| e.to_string())?;
    let (size, channels) = (preprocessing.size, preprocessing.channels());
    if network.input_channels() != channels {
        return Err(format!(
            "the network takes {} channels, pictures have {channels}",
            network.input_channels()
        ));
    }
    if preprocessing.is_tiled() && !STEP_PX.is_multiple_of(network.size_multiple()) {
        let multiple = network.size_multiple();
        return Err(format!(
            "the network needs edges of multiples of {multiple}, tiles have those of {STEP_PX}"
        ));
    }
    let size = if preprocessing.is_tiled() { largest_window(&network, size) } else { size };
    let sizes = network.sizes(size, size).map_err(|e| e.to_string())?;
    let activations = sizes.iter().zip(network.channels()).map(|((h, w), c)| h * w * c).sum::<usize>();
    if activations > MAX_ACTIVATIONS {
        return Err(format!(
            "the network computes {activations} values for a picture, expected at most {MAX_ACTIVATIONS}"
        ));
    }
    if noise_level.is_some_and(|level| !(level.is_finite() && level > 0.0)) {
        return Err(format!("the noise level is {noise_level:?}, expected a positive number"));
    }
    if network.takes_noise_level() != noise_level.is_some() {
        return Err("the noise level and the network do not fit together".to_owned());
    }
    Ok(network)
}

/// Edge of the largest window that a network is given where pictures are worked through in tiles.
fn largest_window(network: &Network, size: usize) -> usize {
    let margin = network.receptive_field().div_ceil(2);
    Tiling::new(MAX_EDGE_PX, 1, size, margin).window().0
}
