//! The file with the regions of all images.

use std::path::PathBuf;

use anyhow::{Context, Result};
use groundstate::image::write_atomically;
use groundstate::regions::Region;

use super::output::{Finding, bytes, io};
use crate::train::check_target;

/// CSV with one row a region, written as a whole at the end.
pub(super) struct RegionTable {
    path: PathBuf,
    writer: csv::Writer<Vec<u8>>,
}

impl RegionTable {
    /// Begins with the header.
    ///
    /// # Errors
    /// The file could not be written.
    pub(super) fn start(path: PathBuf) -> Result<Self> {
        check_target("the table of regions", &path)?;
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record([
            "path",
            "area_px",
            "left",
            "top",
            "width",
            "height",
            "centroid_x",
            "centroid_y",
            "peak",
            "peak_x",
            "peak_y",
        ])?;
        Ok(Self { path, writer })
    }

    /// Adds the regions of one image.
    pub(super) fn add(&mut self, finding: &Finding) -> Result<()> {
        let regions = finding.result.as_ref().map_or(&[][..], |result| &result.regions);
        for Region { area_px, bounds, centroid, peak, peak_at } in regions {
            let mut record = csv::ByteRecord::from(vec![bytes(finding.path)]);
            let numbers = [*area_px, bounds.left, bounds.top, bounds.width, bounds.height];
            numbers.iter().for_each(|number| record.push_field(number.to_string().as_bytes()));
            record.push_field(centroid.x.to_string().as_bytes());
            record.push_field(centroid.y.to_string().as_bytes());
            record.push_field(peak.to_string().as_bytes());
            record.push_field(peak_at.x.to_string().as_bytes());
            record.push_field(peak_at.y.to_string().as_bytes());
            self.writer.write_byte_record(&record).map_err(io)?;
        }
        Ok(())
    }

    /// Writes the file.
    pub(super) fn finish(self) -> Result<()> {
        let text = self.writer.into_inner().context("cannot make the table of regions")?;
        write_atomically(&self.path, &text).with_context(|| format!("cannot write {}", self.path.display()))
    }
}
