//! What a command answers, as lines for people or as JSON, from one description: fields, groups of
//! fields, lists. It is written as it comes, however long it is.

use std::io::{self, BufWriter, Write};

use serde_json::Value;

/// Bytes that a line for people shows of a key or value.
const SHOWN_BYTES_MAX: usize = 48;

/// An element of a list: its fields by name.
pub type Row = Vec<(&'static str, Value)>;

/// The answer while it is written.
pub struct Page<'a> {
    out: &'a mut dyn Write,
    json: bool,
    depth: usize,
    /// Nothing stands in the group yet.
    empty: bool,
}

impl<'a> Page<'a> {
    /// Writes what `fill` says to standard output; who closes it has seen enough.
    ///
    /// # Errors
    /// Those of the output, and of `fill`.
    pub fn print(
        json: bool,
        fill: impl FnOnce(&mut Page<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut out = BufWriter::new(io::stdout().lock());
        match Page::write(&mut out, json, fill) {
            Err(error) if is_closed(&error) => Ok(()),
            written => written,
        }
    }

    fn write(
        out: &'a mut dyn Write,
        json: bool,
        fill: impl FnOnce(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut page = Self { out, json, depth: 0, empty: true };
        if json {
            page.out.write_all(b"{")?;
            page.depth = 1;
        }
        fill(&mut page)?;
        if json {
            page.out.write_all(b"\n}\n")?;
        }
        Ok(page.out.flush()?)
    }

    /// A field.
    ///
    /// # Errors
    /// Those of the output.
    pub fn field(&mut self, name: &str, value: impl Into<Value>) -> io::Result<()> {
        self.begin(name)?;
        let value = value.into();
        if self.json {
            return write!(self.out, " {value}");
        }
        writeln!(self.out, " {}", plain(&value))
    }

    /// A field of bytes, in hexadecimal.
    ///
    /// # Errors
    /// Those of the output.
    pub fn bytes(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.field(name, self.digits().of(bytes))
    }

    /// How bytes stand on this page.
    #[must_use]
    pub fn digits(&self) -> Digits {
        Digits { all: self.json }
    }

    /// Fields under a name.
    ///
    /// # Errors
    /// Those of the output, and of `fill`.
    pub fn group(
        &mut self,
        name: &str,
        fill: impl FnOnce(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.begin(name)?;
        self.out.write_all(if self.json { b" {" } else { b"\n" })?;
        self.depth += 1;
        self.empty = true;
        fill(self)?;
        self.depth -= 1;
        self.empty = false;
        if self.json {
            self.line()?;
            self.out.write_all(b"}")?;
        }
        Ok(())
    }

    /// A list, each element on a line.
    ///
    /// # Errors
    /// Those of the output.
    pub fn rows(&mut self, name: &str, rows: impl IntoIterator<Item = Row>) -> io::Result<()> {
        self.begin(name)?;
        let mut rows = rows.into_iter().peekable();
        if !self.json && rows.peek().is_none() {
            return self.out.write_all(b" none\n");
        }
        self.out.write_all(if self.json { b" [" } else { b"\n" })?;
        self.depth += 1;
        let mut first = true;
        for row in rows {
            let mut fields = row.iter();
            if self.json {
                self.out.write_all(if first { b"" } else { b"," })?;
                self.line()?;
                let object = fields.map(|(name, value)| format!("{}: {value}", quoted(name)));
                write!(self.out, "{{{}}}", object.collect::<Vec<_>>().join(", "))?;
            } else {
                self.indent()?;
                let known = fields.by_ref().filter(|(_, value)| !value.is_null());
                let known = known.map(|(name, v)| format!("{} {}", words(name), plain(v)));
                writeln!(self.out, "- {}", known.collect::<Vec<_>>().join("  "))?;
            }
            first = false;
        }
        self.depth -= 1;
        if self.json {
            if !first {
                self.line()?;
            }
            self.out.write_all(b"]")?;
        }
        Ok(())
    }

    fn begin(&mut self, name: &str) -> io::Result<()> {
        if self.json {
            self.out.write_all(if self.empty { b"" } else { b"," })?;
            self.empty = false;
            self.line()?;
            write!(self.out, "{}:", quoted(name))
        } else {
            self.indent()?;
            write!(self.out, "{}:", words(name))
        }
    }

    fn line(&mut self) -> io::Result<()> {
        self.out.write_all(b"\n")?;
        self.indent()
    }

    fn indent(&mut self) -> io::Result<()> {
        (0..self.depth).try_for_each(|_| self.out.write_all(b"  "))
    }
}

/// Bytes as hexadecimal digits: all of them in JSON, the first ones for people.
#[derive(Clone, Copy, Debug)]
pub struct Digits {
    all: bool,
}

impl Digits {
    /// The digits of `bytes`.
    #[must_use]
    pub fn of(self, bytes: &[u8]) -> String {
        if self.all || bytes.len() <= SHOWN_BYTES_MAX {
            return hex(bytes);
        }
        format!("{}.. ({} bytes)", hex(&bytes[..SHOWN_BYTES_MAX]), bytes.len())
    }
}

fn is_closed(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    kind == Some(io::ErrorKind::BrokenPipe)
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The bytes of hexadecimal digits; `None` for anything else.
#[must_use]
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: &u8| char::from(*b).to_digit(16).map(|digit| digit as u8);
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}

fn quoted(name: &str) -> String {
    Value::from(name).to_string()
}

fn words(name: &str) -> String {
    name.replace('_', " ")
}

/// A value for people: text without control characters, and nothing as a dash.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.chars().flat_map(shown).collect(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

fn shown(c: char) -> impl Iterator<Item = char> {
    let escaped = c.is_control().then(|| c.escape_default());
    let plain = escaped.is_none().then_some(c);
    escaped.into_iter().flatten().chain(plain)
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
