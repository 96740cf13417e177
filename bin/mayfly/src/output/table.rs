//! Rows and columns as upstream draws them: upper-case headers, one space around cells, a bar between columns.

use std::io;

use super::Output;

/// A table to be filled and written once.
pub(crate) struct Table {
    title: String,
    headers: Vec<&'static str>,
    /// Columns that may be left out of a narrow terminal, the first to go first.
    optional: Vec<&'static str>,
    /// Columns that are left out wherever nothing is in them.
    rare: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(headers: &[&'static str]) -> Self {
        Self {
            title: String::new(),
            headers: headers.to_vec(),
            optional: Vec::new(),
            rare: Vec::new(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn title(self, title: &str) -> Self {
        Self {
            title: title.to_owned(),
            ..self
        }
    }

    pub(crate) fn optional(self, columns: &[&'static str]) -> Self {
        Self {
            optional: columns.to_vec(),
            ..self
        }
    }

    pub(crate) fn rare(self, columns: &[&'static str]) -> Self {
        Self {
            rare: columns.to_vec(),
            ..self
        }
    }

    /// Adds a row with one cell per header.
    pub(crate) fn row<const N: usize>(&mut self, cells: [&str; N]) {
        assert_eq!(N, self.headers.len(), "a cell for every header");
        self.rows.push(cells.map(one_line).to_vec());
    }

    /// Writes the table, followed by an empty line. A terminal too narrow for it loses optional columns, the empty ones
    /// first; a program reading it gets them all.
    pub(crate) fn print(&self, out: &Output) -> io::Result<()> {
        let (columns, dropped) = self.columns_for(out.width);
        let title = match self.title.as_str() {
            "" => String::new(),
            title => out.bold(title) + "\n",
        };
        out.text(&format!("{title}{}\n", self.draw(&columns)))?;
        if dropped {
            out.note("Some columns are hidden; widen the window or add --json to see all.");
        }
        Ok(())
    }

    fn width_of(&self, column: usize) -> usize {
        let cells = self.rows.iter().map(|row| shown_width(&row[column]));
        cells
            .chain([shown_width(self.headers[column])])
            .max()
            .unwrap_or_default()
    }

    /// The columns to draw, and whether one with something in it is left out.
    fn columns_for(&self, width: Option<usize>) -> (Vec<usize>, bool) {
        let is_empty = |column: usize| self.rows.iter().all(|row| row[column].is_empty());
        let mut columns: Vec<usize> = (0..self.headers.len())
            .filter(|column| !(self.rare.contains(&self.headers[*column]) && is_empty(*column)))
            .collect();
        let Some(width) = width else {
            return (columns, false);
        };
        let droppable: Vec<usize> = self
            .optional
            .iter()
            .filter_map(|name| self.headers.iter().position(|header| header == name))
            .collect();
        let (empty, filled): (Vec<usize>, Vec<usize>) =
            droppable.into_iter().partition(|column| is_empty(*column));
        let mut dropped = false;
        for column in empty.iter().chain(&filled) {
            let needed: usize = columns.iter().map(|at| self.width_of(*at) + 3).sum();
            if needed <= width + 1 {
                break;
            }
            columns.retain(|kept| kept != column);
            dropped |= filled.contains(column);
        }
        (columns, dropped)
    }

    fn draw(&self, columns: &[usize]) -> String {
        let headers: Vec<String> = self
            .headers
            .iter()
            .map(|name| name.to_uppercase())
            .collect();
        let mut text = String::new();
        for row in std::iter::once(&headers).chain(&self.rows) {
            let cells: Vec<String> = columns
                .iter()
                .map(|column| {
                    let cell = &row[*column];
                    let gap = self.width_of(*column).saturating_sub(shown_width(cell));
                    format!(" {cell}{} ", " ".repeat(gap))
                })
                .collect();
            text.push_str(cells.join("│").trim_end());
            text.push('\n');
        }
        text
    }
}

/// Places in a row of the terminal: emoji take two, everything else we print one.
fn shown_width(text: &str) -> usize {
    let emoji = text.chars().filter(|letter| *letter >= '\u{1f000}').count();
    text.chars().count() + emoji
}

/// A cell holds one line: what a program wrote must not break the table or reach the terminal's controls.
fn one_line(cell: &str) -> String {
    cell.chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect::<String>()
        .trim_end()
        .to_owned()
}

/// Names and values, one pair per line, followed by an empty line.
pub(crate) fn fields(out: &Output, title: &str, pairs: &[(&str, &str)]) -> io::Result<()> {
    let width = pairs.iter().map(|(name, _)| name.chars().count()).max();
    let width = width.unwrap_or_default();
    let mut text = format!("{}\n", out.bold(title));
    for (name, value) in pairs {
        let line = format!("  {name:<width$} = {}", one_line(value));
        text.push_str(line.trim_end());
        text.push('\n');
    }
    out.line(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machines() -> Table {
        let mut table = Table::new(&["ID", "Name", "Role", "Image"]).optional(&["Image", "Role"]);
        table.row(["3d8d", "web", "", "nginx:latest"]);
        table.row(["17ab90", "worker\x1b[2J", "", "redis:7"]);
        table
    }

    #[test]
    fn programs_get_every_column() {
        let table = machines();
        let (columns, dropped) = table.columns_for(None);
        assert!(!dropped);
        let lines = [
            " ID     │ NAME       │ ROLE │ IMAGE\n",
            " 3d8d   │ web        │      │ nginx:latest\n",
            " 17ab90 │ worker [2J │      │ redis:7\n",
        ];
        assert_eq!(table.draw(&columns), lines.concat());
    }

    #[test]
    fn rare_columns_show_only_when_they_say_something() {
        let mut table = Table::new(&["Name", "Network"]).rare(&["Network"]);
        table.row(["a💀", ""]);
        assert_eq!(table.draw(&table.columns_for(None).0), " NAME\n a💀\n");
        table.row(["b", "own"]);
        assert_eq!(
            table.draw(&table.columns_for(None).0),
            " NAME │ NETWORK\n a💀  │\n b    │ own\n"
        );
    }

    #[test]
    fn narrow_terminals_lose_empty_columns_first() {
        let table = machines();
        assert_eq!(table.columns_for(Some(80)), (vec![0, 1, 2, 3], false));
        assert_eq!(table.columns_for(Some(40)), (vec![0, 1, 3], false));
        assert_eq!(table.columns_for(Some(24)), (vec![0, 1], true));
        assert_eq!(table.columns_for(Some(5)), (vec![0, 1], true));
    }
}
