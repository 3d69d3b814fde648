//! The bars as a table.

use serde::Deserialize;

/// One bar, as the report has it.
#[derive(Debug, Deserialize)]
pub struct Row {
    what: String,
    bar: String,
    measured: String,
    ratio: Option<f64>,
    meets: Option<bool>,
}

/// The rows below each other, for people.
pub fn render(rows: &[Row]) -> String {
    let heading = ["what", "bar", "measured", "ratio", "meets"].map(str::to_owned);
    let cells: Vec<_> = std::iter::once(heading).chain(rows.iter().map(cells)).collect();
    let width = |column: usize| {
        let widths = cells.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0)
    };
    let widths = [0, 1, 2, 3, 4].map(width);
    let lines = cells.iter().map(|row| {
        let padded = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn cells(row: &Row) -> [String; 5] {
    let ratio = row.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
    let meets = match row.meets {
        Some(true) => "yes",
        Some(false) => "NO",
        None => "–",
    };
    [
        row.what.clone(),
        row.bar.clone(),
        row.measured.clone(),
        ratio,
        meets.to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_and_a_missed_bar_stands_out() {
        let json =
            r#"[{"what":"memory","bar":"≤ 15 MiB","measured":"16.00 MiB","ratio":1.067,"meets":false}]"#;
        let rows: Vec<Row> = serde_json::from_str(json).unwrap();
        let expected = "what    bar       measured   ratio  meets\nmemory  ≤ 15 MiB  16.00 MiB  1.07   NO";
        assert_eq!(render(&rows), expected);
    }
}
