//! Positions in shares of a picture's width and height.

/// Rows and columns of positions that cover a picture, whatever its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Positions across, at least 1.
    pub columns: usize,
    /// Positions down, at least 1.
    pub rows: usize,
}

impl Grid {
    /// The finest grid of at most `most` positions whose positions are blocks of as many cells across as
    /// down, for a picture of `columns` × `rows` cells.
    pub fn within(columns: usize, rows: usize, most: usize) -> Self {
        let blocks = |edge: usize| Self { columns: columns.div_ceil(edge), rows: rows.div_ceil(edge) };
        let fits = |edge: &usize| blocks(*edge).len() <= most;
        blocks((1..).find(fits).expect("a block that covers the picture is one position"))
    }

    /// Number of positions.
    pub fn len(&self) -> usize {
        self.columns * self.rows
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The position, row by row, that the cell in column `x` and row `y` of `cells` belongs to.
    pub fn of_cell(&self, x: usize, y: usize, cells: Self) -> usize {
        y * self.rows / cells.rows * self.columns + x * self.columns / cells.columns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_is_as_fine_as_its_limit_allows() {
        assert_eq!(Grid::within(64, 64, 4096), Grid { columns: 64, rows: 64 });
        assert_eq!(Grid::within(65, 64, 4096), Grid { columns: 33, rows: 32 });
        assert_eq!(Grid::within(2000, 500, 4096), Grid { columns: 125, rows: 32 });
        assert_eq!(Grid::within(5, 1, 1), Grid { columns: 1, rows: 1 });
    }

    #[test]
    fn every_cell_has_a_position_and_equal_grids_are_the_identity() {
        let (grid, cells) = (Grid { columns: 7, rows: 3 }, Grid { columns: 50, rows: 11 });
        let mut seen = vec![0; grid.len()];
        (0..cells.len()).for_each(|i| seen[grid.of_cell(i % 50, i / 50, cells)] += 1);
        assert!(seen.iter().all(|&n| n > 0));
        assert!((0..grid.len()).all(|i| grid.of_cell(i % 7, i / 7, grid) == i));
    }
}
