//! A line of little bars.

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Draws the values in at most `width` characters, scaled between the least
/// and the greatest of them; a gap is a blank.
pub(crate) fn sparkline(values: &[Option<f64>], width: usize) -> String {
    if values.is_empty() || width == 0 {
        return String::new();
    }
    let columns = width.min(values.len());
    let buckets: Vec<Option<f64>> = (0..columns)
        .map(|column| {
            let bucket = &values[column * values.len() / columns..(column + 1) * values.len() / columns];
            let (sum, count) = bucket.iter().flatten().fold((0.0, 0.0), |(sum, count), v| (sum + v, count + 1.0));
            (count > 0.0).then(|| sum / count)
        })
        .collect();
    let least = buckets.iter().flatten().copied().fold(f64::INFINITY, f64::min);
    let greatest = buckets.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
    let span = greatest - least;
    buckets
        .into_iter()
        .map(|value| match value {
            None => ' ',
            // A constant is a low line, not a full one.
            Some(_) if span <= 0.0 => BARS[0],
            Some(value) => BARS[(((value - least) / span) * 7.0).round() as usize % 8],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_blank_and_the_range_is_used() {
        assert_eq!(sparkline(&[Some(0.0), None, Some(7.0)], 10), "▁ █");
        assert_eq!(sparkline(&[Some(5.0), Some(5.0)], 10), "▁▁");
        assert_eq!(sparkline(&[], 10), "");
        assert_eq!(sparkline(&[Some(1.0), Some(1.0), Some(3.0), Some(3.0)], 2), "▁█");
    }
}
