//! Reference data of instruments from a CSV, joined with the symbols of a run.
//!
//! The first line names the columns, in any order: `symbol`, and of `tick`, `lot`, `currency` and
//! `isin` those there are. A cell may be empty. Decides nothing: what it says of a symbol stands
//! beside that symbol's results (`symbols.json`). A run keeps its own copy (`reference.csv`), so
//! that it can be resumed when the file has changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Nobody has a list of instruments that is longer.
const BYTES_MAX: u64 = 64 << 20;

/// What is known of one instrument.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instrument {
    /// The smallest step of its price, a decimal in its currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tick: Option<String>,
    /// How many of it are traded at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lot: Option<u64>,
    /// ISO 4217: three capital letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// ISO 6166: two letters, nine letters or digits, and a check digit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isin: Option<String>,
}

/// Instruments by symbol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reference(BTreeMap<String, Instrument>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    symbol: String,
    #[serde(default)]
    tick: Option<String>,
    #[serde(default)]
    lot: Option<String>,
    #[serde(default)]
    currency: Option<String>,
    #[serde(default)]
    isin: Option<String>,
}

/// The first line's cells.
pub(crate) type Columns = Vec<String>;
/// A line's number and cells.
pub(crate) type Line = (u64, Vec<String>);

/// Reads any CSV with a first line of names. The error names the file, and the line.
pub(crate) fn read_csv(path: &Path, bytes_max: u64) -> Result<(Columns, Vec<Line>), String> {
    let fail = |what: String| format!("{}: {what}", path.display());
    let about = fs::metadata(path).map_err(|e| fail(e.to_string()))?;
    if !about.is_file() || about.len() > bytes_max {
        return Err(fail(format!("want a file of at most {bytes_max} bytes")));
    }
    let bytes = fs::read(path).map_err(|e| fail(e.to_string()))?;
    if let Some(line) = open_quote(&bytes) {
        return Err(format!("{}, line {line}: {OPEN_QUOTE}", path.display()));
    }
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(bytes.as_slice());
    let said = |error: csv::Error| {
        let (line, what) = said(&bytes, error);
        format!("{}, line {line}: {what}", path.display())
    };
    let names = reader.headers().map_err(said)?;
    let names: Columns = names.iter().map(str::to_string).collect();
    let mut lines = Vec::new();
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(said)? {
        let cells = record.iter().map(str::to_string).collect();
        lines.push((line_of(&bytes, record.position()), cells));
    }
    Ok((names, lines))
}

const OPEN_QUOTE: &str = "a quote that does not end";

/// The line of a quote that is open at the end, as where a file is cut within a cell: the library would
/// take all behind it for that cell.
fn open_quote(bytes: &[u8]) -> Option<u64> {
    let (mut line, mut open) = (1, None);
    for byte in bytes {
        match byte {
            b'"' if open.is_some() => open = None,
            b'"' => open = Some(line),
            b'\n' => line += 1,
            _ => {}
        }
    }
    open
}

/// The line at which a record begins: for the library it begins with the empty lines before it.
fn line_of(bytes: &[u8], position: Option<&csv::Position>) -> u64 {
    let from = position.map_or(0, |position| position.byte() as usize);
    let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
    let rest = bytes.get(from..).unwrap_or_default();
    let at = from + rest.iter().take_while(|&byte| is_end(byte)).count();
    let before = bytes[..at.min(bytes.len())].iter();
    1 + before.filter(|&&byte| byte == b'\n').count() as u64
}

/// Where an error is, and what it is.
fn said(bytes: &[u8], error: csv::Error) -> (u64, String) {
    let line = line_of(bytes, error.position());
    let what = match error.into_kind() {
        csv::ErrorKind::Deserialize { err, .. } => err.kind().to_string(),
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => format!("{len} cells, want {expected_len} as in the first line"),
        csv::ErrorKind::Utf8 { .. } => "not UTF-8".to_string(),
        other => format!("{other:?}"),
    };
    (line, what)
}

impl Reference {
    /// Reads a file. The error names it and the line.
    pub fn read(path: &Path) -> Result<(Reference, Vec<u8>), String> {
        let fail = |what: String| format!("{}: {what}", path.display());
        let about = fs::metadata(path).map_err(|e| fail(e.to_string()))?;
        if !about.is_file() || about.len() > BYTES_MAX {
            return Err(fail(format!("want a file of at most {BYTES_MAX} bytes")));
        }
        let bytes = fs::read(path).map_err(|e| fail(e.to_string()))?;
        let reference = Reference::parse(&bytes)
            .map_err(|(line, what)| format!("{}, line {line}: {what}", path.display()))?;
        Ok((reference, bytes))
    }

    fn parse(bytes: &[u8]) -> Result<Reference, (u64, String)> {
        if let Some(line) = open_quote(bytes) {
            return Err((line, OPEN_QUOTE.into()));
        }
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .from_reader(bytes);
        let mut found = BTreeMap::new();
        let said = |error: csv::Error| said(bytes, error);
        let headers = reader.headers().map_err(said)?.clone();
        let wanted = ["symbol", "tick", "lot", "currency", "isin"];
        for (index, name) in headers.iter().enumerate() {
            if !wanted.contains(&name) {
                return Err((
                    1,
                    format!("unknown column `{name}`, want {}", wanted.join(", ")),
                ));
            }
            if headers.iter().take(index).any(|before| before == name) {
                return Err((1, format!("two columns `{name}`, want one")));
            }
        }
        if !headers.iter().any(|name| name == "symbol") {
            return Err((1, "no column `symbol`".to_string()));
        }
        let mut record = csv::StringRecord::new();
        while reader.read_record(&mut record).map_err(said)? {
            let line = line_of(bytes, record.position());
            let row: Row = record.deserialize(Some(&headers)).map_err(said)?;
            let (symbol, instrument) = instrument(row).map_err(|what| (line, what))?;
            if found.contains_key(&symbol) {
                return Err((line, format!("{symbol} stands there twice, want it once")));
            }
            found.insert(symbol, instrument);
        }
        Ok(Reference(found))
    }

    /// What is known of a symbol.
    pub fn get(&self, symbol: &str) -> Option<&Instrument> {
        self.0.get(symbol)
    }

    /// How many instruments it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn instrument(row: Row) -> Result<(String, Instrument), String> {
    if row.symbol.is_empty() {
        return Err("no symbol".to_string());
    }
    let given = |cell: Option<String>| cell.filter(|text| !text.is_empty());
    let tick = given(row.tick);
    if let Some(tick) = &tick
        && !is_positive_decimal(tick)
    {
        return Err(format!(
            "tick {tick:?}, want a positive decimal of at most 9 places, like 0.01"
        ));
    }
    let lot = given(row.lot).map(|text| match text.parse() {
        Ok(lot @ 1..) => Ok(lot),
        _ => Err(format!("lot {text:?}, want a whole number from 1 on")),
    });
    let currency = given(row.currency);
    if let Some(code) = &currency
        && !(code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase()))
    {
        return Err(format!(
            "currency {code:?}, want three capital letters, like USD"
        ));
    }
    let isin = given(row.isin);
    if let Some(isin) = &isin
        && !is_isin(isin)
    {
        return Err(format!(
            "isin {isin:?}, want two letters, nine letters or digits and a good check digit"
        ));
    }
    let instrument = Instrument {
        tick,
        lot: lot.transpose()?,
        currency,
        isin,
    };
    Ok((row.symbol, instrument))
}

/// At most nine digits on either side of the point: what a price of the program can be.
fn is_positive_decimal(text: &str) -> bool {
    let (whole, places) = text.split_once('.').unwrap_or((text, "0"));
    let are_digits = |text: &str| {
        (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    are_digits(whole) && are_digits(places) && text.bytes().any(|byte| matches!(byte, b'1'..=b'9'))
}

/// ISO 6166, with its check digit: letters count as two digits from 10 on, and the Luhn sum over all
/// digits is a multiple of ten.
fn is_isin(text: &str) -> bool {
    let bytes = text.as_bytes();
    let [first, second, .., check] = bytes else {
        return false;
    };
    let is_formed = bytes.len() == 12
        && first.is_ascii_uppercase()
        && second.is_ascii_uppercase()
        && check.is_ascii_digit()
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    if !is_formed {
        return false;
    }
    let mut digits = Vec::with_capacity(2 * bytes.len());
    for byte in bytes {
        match byte {
            b'0'..=b'9' => digits.push(byte - b'0'),
            letter => {
                let value = letter - b'A' + 10;
                digits.extend([value / 10, value % 10]);
            }
        }
    }
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(index, &digit)| match (index % 2, u32::from(digit)) {
            (0, digit) => digit,
            (_, digit) => digit * 2 / 10 + digit * 2 % 10,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let (line, what) = Reference::parse(text.as_bytes()).expect_err("it is bad");
        format!("line {line}: {what}")
    }

    #[test]
    fn columns_stand_in_any_order_and_cells_may_be_empty() {
        let text = "isin, symbol,lot,tick\nUS0378331005,AAPL,100,0.01\n,\"BRK.A\",1,\n";
        let read = Reference::parse(text.as_bytes()).unwrap();
        assert_eq!(read.len(), 2);
        let apple = Instrument {
            tick: Some("0.01".into()),
            lot: Some(100),
            currency: None,
            isin: Some("US0378331005".into()),
        };
        assert_eq!(read.get("AAPL"), Some(&apple));
        let lot_only = Instrument {
            lot: Some(1),
            ..Instrument::default()
        };
        assert_eq!(read.get("BRK.A"), Some(&lot_only));
        assert_eq!(read.get("MSFT"), None);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, want) in [
            (
                "symbol,tik\n",
                "line 1: unknown column `tik`, want symbol, tick",
            ),
            ("tick\n0.01\n", "line 1: no column `symbol`"),
            ("symbol,lot,lot\n", "line 1: two columns `lot`"),
            (
                "symbol,tick\nA,0.01\nB,0\n",
                "line 3: tick \"0\", want a positive",
            ),
            ("symbol,tick\nA,1e-2\n", "line 2: tick"),
            (
                "symbol,tick\nA,\"0.01\nB,1\n",
                "line 2: a quote that does not end",
            ),
            ("symbol,tick\nA,-0.01\n", "line 2: tick"),
            (
                "symbol,lot\nA,0\n",
                "line 2: lot \"0\", want a whole number",
            ),
            ("symbol,currency\nA,usd\n", "line 2: currency"),
            ("symbol,isin\nA,US0378331006\n", "line 2: isin"),
            ("symbol,isin\nA,US037833100\n", "line 2: isin"),
            ("symbol\nA\n\nA\n", "line 4: A stands there twice"),
            ("symbol,lot\n,1\n", "line 2: no symbol"),
            ("symbol,lot\nA\n", "line 2: 1 cells, want 2"),
        ] {
            let said = refused(text);
            assert!(said.starts_with(want), "{text:?}: {said}");
        }
        let (_, what) = Reference::parse(b"symbol\n\xff\n").expect_err("it is bad");
        assert_eq!(what, "not UTF-8");
    }

    #[test]
    fn check_digits_of_known_numbers_hold() {
        for isin in [
            "US0378331005",
            "US5949181045",
            "DE0007164600",
            "AU0000XVGZA3",
        ] {
            assert!(is_isin(isin), "{isin}");
        }
        assert!(!is_isin("US0378331015"));
    }
}
