//! Tables for people: a heading, a line a row, columns as wide as what is in them.

/// Renders rows below their headings. The last column is not padded.
pub(crate) fn render(headings: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([headings[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..headings.len()).map(width).collect();
    let mut text = String::new();
    let headings: Vec<_> = headings.iter().map(ToString::to_string).collect();
    for row in std::iter::once(&headings).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards tables: columns line up, and nothing trails.
    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".to_owned(), "long value".into()], vec!["longer".into(), "-".into()]];
        assert_eq!(render(&["ID", "NAME"], &rows), "ID      NAME\na       long value\nlonger  -\n");
    }
}
