//! Results of inspections as text, JSON lines or CSV, on stdout.
//!
//! Text and CSV hold a path byte for byte as the system gave it; JSON is Unicode, so there other
//! bytes are replaced.

use std::borrow::Cow;
use std::io::{StdoutLock, Write, stdout};
use std::path::{Path, PathBuf};

use groundstate::detector::Inspection;
use groundstate::regions::Region;
use groundstate::score::Scores;
use serde::Serialize;

use crate::console::Console;
use crate::outcome::one_line;

const CSV_HEADER: [&str; 8] = ["path", "score", "p_value", "flagged", "regions", "area_px", "map", "error"];

/// How results are printed.
#[derive(Clone, Copy)]
pub(super) enum Format {
    Text,
    Json,
    Csv,
}

/// What is said of one path.
pub(super) struct Finding<'a> {
    pub(super) path: &'a Path,
    pub(super) result: anyhow::Result<Result>,
}

/// What is said of one image.
pub(super) struct Result {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) inspection: Inspection,
    /// What is above the threshold of the map, highest peak first.
    pub(super) regions: Vec<Region>,
    /// The overlay, where one was written.
    pub(super) map: Option<PathBuf>,
}

/// Prints findings one after the other.
pub(super) enum Output {
    Text(StdoutLock<'static>, Console),
    Json(StdoutLock<'static>),
    Csv(Box<csv::Writer<StdoutLock<'static>>>),
}

impl Output {
    /// Begins, with the header that CSV has.
    pub(super) fn start(format: Format, console: Console) -> anyhow::Result<Self> {
        let out = stdout().lock();
        Ok(match format {
            Format::Text => Self::Text(out, console),
            Format::Json => Self::Json(out),
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(out);
                writer.write_record(CSV_HEADER).map_err(io)?;
                Self::Csv(Box::new(writer))
            }
        })
    }

    /// Prints one finding.
    pub(super) fn write(&mut self, finding: &Finding) -> anyhow::Result<()> {
        match self {
            Self::Text(out, console) => write_text(out, console, finding),
            Self::Json(out) => write_json(out, finding),
            Self::Csv(writer) => write_csv(writer, finding),
        }
    }

    /// Makes everything printed so far visible to the reader.
    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Text(out, _) | Self::Json(out) => out.flush()?,
            Self::Csv(writer) => writer.flush()?,
        }
        Ok(())
    }
}

fn write_text(out: &mut impl Write, console: &Console, finding: &Finding) -> anyhow::Result<()> {
    match &finding.result {
        Ok(Result { inspection, regions, .. }) => {
            let verdict = if inspection.flagged { "anomalous" } else { "normal" };
            write!(out, "{verdict:<9}  score {:>9.4}  p {:.4}  ", inspection.score, inspection.p_value)?;
            out.write_all(bytes(finding.path))?;
            writeln!(out)?;
            regions.iter().try_for_each(|region| write_region(out, region))?;
        }
        Err(error) => console.error(error),
    }
    Ok(())
}

/// An indented line below that of the image.
fn write_region(out: &mut impl Write, region: &Region) -> std::io::Result<()> {
    let Region { area_px, bounds, centroid, peak, peak_at } = region;
    writeln!(
        out,
        "  region  {area_px} px in {} × {} at ({}, {}), centre ({:.1}, {:.1}), peak {peak:.4} at ({}, {})",
        bounds.width, bounds.height, bounds.left, bounds.top, centroid.x, centroid.y, peak_at.x, peak_at.y
    )
}

/// A line of JSON; docs/json.md lists the keys.
#[derive(Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Inspected {
        path: Cow<'a, str>,
        score: f64,
        p_value: f64,
        flagged: bool,
        width: usize,
        height: usize,
        regions: &'a [Region],
        map: Option<Cow<'a, str>>,
        scores: &'a Scores,
    },
    Failed {
        path: Cow<'a, str>,
        error: String,
    },
}

impl<'a> Line<'a> {
    fn of(finding: &'a Finding) -> Self {
        let path = finding.path.to_string_lossy();
        match &finding.result {
            Ok(Result { width, height, inspection, regions, map }) => Self::Inspected {
                regions,
                path,
                score: inspection.score,
                p_value: inspection.p_value,
                flagged: inspection.flagged,
                width: *width,
                height: *height,
                map: map.as_deref().map(Path::to_string_lossy),
                scores: &inspection.scores,
            },
            Err(error) => Self::Failed { path, error: one_line(error) },
        }
    }
}

fn write_json(out: &mut impl Write, finding: &Finding) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *out, &Line::of(finding))?;
    Ok(writeln!(out)?)
}

fn write_csv(writer: &mut csv::Writer<StdoutLock<'static>>, finding: &Finding) -> anyhow::Result<()> {
    let mut record = csv::ByteRecord::new();
    record.push_field(bytes(finding.path));
    match &finding.result {
        Ok(Result { inspection, regions, map, .. }) => {
            let area_px: usize = regions.iter().map(|region| region.area_px).sum();
            record.push_field(inspection.score.to_string().as_bytes());
            record.push_field(inspection.p_value.to_string().as_bytes());
            record.push_field(inspection.flagged.to_string().as_bytes());
            record.push_field(regions.len().to_string().as_bytes());
            record.push_field(area_px.to_string().as_bytes());
            record.push_field(map.as_deref().map_or(b"", bytes));
            record.push_field(b"");
        }
        Err(error) => {
            (0..CSV_HEADER.len() - 2).for_each(|_| record.push_field(b""));
            record.push_field(one_line(error).as_bytes());
        }
    }
    writer.write_byte_record(&record).map_err(io)
}

/// The error below that of the CSV library, so that a closed pipe is seen as one.
pub(super) fn io(error: csv::Error) -> anyhow::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error.into(),
        other => anyhow::anyhow!("cannot write CSV: {other:?}"),
    }
}

pub(super) fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}
