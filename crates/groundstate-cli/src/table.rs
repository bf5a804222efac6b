//! Numbers in columns, for reading.

use std::fmt::Write as _;

use groundstate::evaluate::Evaluation;

/// Rows of cells: the first column to the left, the others to the right.
#[derive(Default)]
pub(crate) struct Table(Vec<Vec<String>>);

impl Table {
    /// Adds a row.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.0.push(cells.into());
    }

    /// Adds a row of fixed words.
    pub(crate) fn head<const N: usize>(&mut self, cells: [&str; N]) {
        self.row(cells.map(str::to_owned));
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.0.iter().map(Vec::len).max().unwrap_or(0);
        let cell_width = |column: usize| {
            let cells = self.0.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(cell_width).collect();
        for row in &self.0 {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                match column {
                    0 => write!(line, "{cell:<width$}")?,
                    _ => write!(line, "  {cell:>width$}")?,
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// A share in `[0, 1]` with four decimals, or a dash.
pub(crate) fn share(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"))
}

/// An evaluation for reading.
pub(crate) fn evaluation(name: &str, evaluation: &Evaluation) -> String {
    let counts = &evaluation.counts;
    let mut text = format!("{name}: {} normal and {} anomalous images", counts.normal, counts.anomalous);
    for (count, what) in [
        (counts.without_mask, "without mask"),
        (counts.outside_roi, "with a defect outside the region of interest only, which do not count"),
        (counts.failed, "not inspected"),
    ] {
        if count > 0 {
            text += &format!(", {count} {what}");
        }
    }
    text += &format!("\n\n{}\n{}\n", images(evaluation), pixels(evaluation));
    for (key, reason) in &evaluation.absent {
        text += &format!("{key}: {reason}\n");
    }
    text + &verdicts_and_costs(evaluation)
}

fn images(evaluation: &Evaluation) -> Table {
    let mut table = Table::default();
    table.head(["image score", "AUROC", "95 % interval", "AP", "F1-max"]);
    for (name, auroc) in &evaluation.image_auroc {
        let interval = format!("{:.3} to {:.3}", auroc.low, auroc.high);
        if *name == evaluation.default_score {
            let (precision, f1) = (share(evaluation.average_precision), share(evaluation.f1_max));
            table.row([format!("{name} (default)"), share(Some(auroc.value)), interval, precision, f1]);
        } else {
            table.row([name.clone(), share(Some(auroc.value)), interval]);
        }
    }
    table
}

fn pixels(evaluation: &Evaluation) -> Table {
    let mut table = Table::default();
    table.head(["map", "pixel AUROC", "AP", "F1-max", "AUPRO 30 %", "AUPRO 5 %", "AUPIMO"]);
    table.row([
        "default".to_owned(),
        share(evaluation.pixel_auroc),
        share(evaluation.pixel_average_precision),
        share(evaluation.pixel_f1_max),
        share(evaluation.aupro_30),
        share(evaluation.aupro_05),
        share(evaluation.aupimo),
    ]);
    for (name, map) in &evaluation.maps {
        table.row([
            name.clone(),
            share(Some(map.pixel_auroc)),
            share(Some(map.pixel_average_precision)),
            share(Some(map.pixel_f1_max)),
            share(Some(map.aupro_30)),
            share(Some(map.aupro_05)),
        ]);
    }
    table
}

fn verdicts_and_costs(evaluation: &Evaluation) -> String {
    let (counts, verdicts) = (&evaluation.counts, &evaluation.verdicts);
    let mut text = format!(
        "verdicts: {} of {} normal images rejected, {} of {} anomalous images detected\n",
        verdicts.false_rejects, counts.normal, verdicts.detected, counts.anomalous
    );
    let costs = [
        evaluation.train_seconds.map(|seconds| format!("trained in {seconds:.1} s")),
        evaluation.peak_memory_mib.map(|peak| format!("training peak {peak:.0} MiB")),
        evaluation.images_per_second.map(|rate| format!("{rate:.1} images inspected per second")),
    ];
    let costs: Vec<String> = costs.into_iter().flatten().collect();
    if !costs.is_empty() {
        text += &format!("cost: {}\n", costs.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::default();
        table.head(["name", "AUROC"]);
        table.row(["schräg".to_owned(), share(Some(0.5))]);
        table.row(["a".to_owned(), share(None)]);
        assert_eq!(table.to_string(), "name     AUROC\nschräg  0.5000\na            –\n");
    }
}
