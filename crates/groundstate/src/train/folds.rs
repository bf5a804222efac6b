//! Pictures in folds: number i belongs to fold i mod the number of folds.

/// Those of one fold.
pub(super) fn members<T>(items: &[T], fold: usize, folds: usize) -> impl Iterator<Item = &T> {
    items.iter().skip(fold).step_by(folds)
}

/// Those of the other folds.
pub(super) fn others<T>(items: &[T], fold: usize, folds: usize) -> impl Iterator<Item = &T> {
    items.iter().enumerate().filter(move |(index, _)| index % folds != fold).map(|(_, item)| item)
}
