//! Tables: the sheets of a workbook, and files of separated values.

use std::collections::HashMap;
use std::io::Cursor;

use calamine::{Data, Reader as _, Xlsx};

use super::error::{ImportError, Place, shown};

/// A table with a header.
pub(super) struct Table {
    /// The file it comes from.
    pub file: String,
    /// The sheet, or the file's own name.
    pub sheet: String,
    columns: HashMap<String, usize>,
    /// Names of the columns as written.
    pub header: Vec<String>,
    rows: Vec<(usize, Vec<String>)>,
}

/// A row of a table.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    table: &'a Table,
    /// Its number in the sheet, from 1.
    pub number: usize,
    cells: &'a [String],
}

impl Table {
    fn new(file: &str, sheet: &str, mut rows: impl Iterator<Item = (usize, Vec<String>)>) -> Option<Self> {
        let (_, header) = rows.find(|(_, cells)| cells.iter().any(|cell| !cell.is_empty()))?;
        let mut columns = HashMap::new();
        for (at, name) in header.iter().enumerate() {
            columns.entry(normal(name)).or_insert(at);
        }
        let rows = rows.filter(|(_, cells)| cells.iter().any(|cell| !cell.is_empty())).collect();
        Some(Self { file: file.to_owned(), sheet: sheet.to_owned(), columns, header, rows })
    }

    /// Its rows below the header.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|(number, cells)| Row { table: self, number: *number, cells })
    }

    /// Whether it has a column of that name.
    pub fn has(&self, column: &str) -> bool {
        self.columns.contains_key(&normal(column))
    }
}

/// Column names are compared by their letters and digits alone; `MB` of old workbooks is `MiB` in new ones.
fn normal(name: &str) -> String {
    let letters: String = name.chars().filter(|c| c.is_alphanumeric() || *c == '#' || *c == '%').collect();
    let lower = letters.to_lowercase();
    lower.strip_suffix("mb").map_or(lower.clone(), |stem| format!("{stem}mib"))
}

impl<'a> Row<'a> {
    /// The text of the first of these columns that says something.
    pub fn text(self, columns: &[&str]) -> Option<&'a str> {
        columns.iter().find_map(|column| {
            let at = *self.table.columns.get(&normal(column))?;
            self.cells.get(at).map(|cell| cell.trim()).filter(|cell| !cell.is_empty())
        })
    }

    /// A flaw of a cell.
    pub fn flaw(self, column: &str, message: String, help: &str) -> ImportError {
        let place = Place::Cell { sheet: self.table.sheet.clone(), row: self.number, column: column.to_owned() };
        ImportError::new(&self.table.file, place, message, help)
    }

    /// A whole number: `4096`, `4,096`, `4096.0`; a fraction is rounded up.
    pub fn whole(self, columns: &[&str], errors: &mut Vec<ImportError>) -> Option<u64> {
        let written = self.text(columns)?;
        let number = whole(written);
        if number.is_none() {
            let message = format!("`{}` is not a number", shown(written));
            errors.push(self.flaw(columns[0], message, "correct the cell, or leave it empty if nobody knows"));
        }
        number
    }

    /// `True` or `False`, in any case.
    pub fn flag(self, columns: &[&str], errors: &mut Vec<ImportError>) -> Option<bool> {
        let written = self.text(columns)?;
        match written.to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" | "wahr" | "vrai" => Some(true),
            "false" | "no" | "0" | "falsch" | "faux" => Some(false),
            _ => {
                let message = format!("`{}` is neither True nor False", shown(written));
                errors.push(self.flaw(columns[0], message, "correct the cell, or leave it empty if nobody knows"));
                None
            }
        }
    }
}

fn whole(written: &str) -> Option<u64> {
    let plain: String = written.chars().filter(|c| !matches!(c, ',' | ' ' | '\u{a0}' | '\u{202f}' | '\'')).collect();
    if let Ok(number) = plain.parse::<u64>() {
        return Some(number);
    }
    let number = plain.parse::<f64>().ok()?;
    // The comparison also refuses what is no number at all; below, every whole number has a value of its own.
    (0.0..9e15).contains(&number).then(|| number.ceil() as u64)
}

/// The sheets of a workbook.
pub(super) fn workbook(file: &str, bytes: Vec<u8>) -> Result<Vec<Table>, ImportError> {
    let refused = |error: String| {
        let help = "save it as an `.xlsx` workbook again, or export its sheets as `.csv` files";
        ImportError::new(file, Place::File, format!("it is not a workbook that can be read: {error}"), help)
    };
    let read = move || {
        let mut book: Xlsx<_> = Xlsx::new(Cursor::new(bytes)).map_err(|error| refused(error.to_string()))?;
        let mut tables = Vec::new();
        for sheet in book.sheet_names() {
            let range = book.worksheet_range(&sheet).map_err(|error| refused(format!("sheet `{sheet}`: {error}")))?;
            let first = range.start().map_or(0, |(row, _)| row as usize);
            let rows = range.rows().enumerate().map(|(at, cells)| (first + at + 1, cells.iter().map(cell).collect()));
            tables.extend(Table::new(file, &sheet, rows));
        }
        Ok(tables)
    };
    // The reader panics where a damaged cell's place is beyond all numbers.
    std::panic::catch_unwind(read).unwrap_or_else(|_| Err(refused("a cell has an impossible place".to_owned())))
}

fn cell(data: &Data) -> String {
    match data {
        Data::Empty | Data::Error(_) => String::new(),
        Data::Bool(flag) => flag.to_string(),
        // Days since the end of 1899, of which 25,569 were before 1970.
        Data::DateTime(days) => {
            let seconds = ((days.as_f64() - 25_569.0) * 86_400.0).round();
            jiff::Timestamp::from_second(seconds as i64)
                .map_or_else(|_| days.as_f64().to_string(), |time| time.strftime("%Y/%m/%d %H:%M:%S").to_string())
        }
        other => other.to_string(),
    }
}

/// A file of separated values, with whatever separator its header has.
pub(super) fn separated(file: &str, sheet: &str, bytes: &[u8]) -> Result<Table, ImportError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let head = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let count = |separator: u8| head.iter().filter(|byte| **byte == separator).count();
    let separator = [b',', b';', b'\t'].into_iter().max_by_key(|separator| count(*separator)).unwrap_or(b',');
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(separator).from_reader(bytes);
    let mut rows = Vec::new();
    for record in reader.byte_records() {
        let record = record.map_err(|error| {
            let line = error.position().map_or(1, |position| position.line() as usize);
            ImportError::new(
                file,
                Place::Line(line),
                format!("the row cannot be read: {error}"),
                "export the sheet again",
            )
        })?;
        let line = record.position().map_or(0, |position| position.line() as usize);
        rows.push((line, record.iter().map(|cell| String::from_utf8_lossy(cell).into_owned()).collect()));
    }
    let empty = || ImportError::new(file, Place::File, "the table is empty", "export the sheet again");
    Table::new(file, sheet, rows.into_iter()).ok_or_else(empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_spreadsheets_write_them() {
        assert_eq!(whole("4,096"), Some(4096));
        assert_eq!(whole("40.5"), Some(41));
        assert_eq!(whole("1e30"), None);
        assert_eq!(whole("NaN"), None);
        assert_eq!(whole("-1"), None);
        assert_eq!(normal("Capacity MB"), normal("Capacity MiB"));
    }
}
