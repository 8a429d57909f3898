//! The words of the input, or runs of them, one after the other, with a position that a later
//! reader goes on from exactly.

use std::collections::VecDeque;
use std::io::Read;

use anyhow::{Context, Result, bail};
use aquifer::limits::KEY_BYTES_MAX;
use serde::{Deserialize, Serialize};

use crate::run::inputs::{Inputs, Pass, STDIN, Source};

const BUFFER_BYTES: usize = 128 << 10;

/// A place between two records of the input.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Index of the file.
    pub file: usize,
    /// Byte in it: the first one after the last word.
    pub offset: u64,
    /// Words before it that the next runs begin with.
    pub window: Vec<String>,
    /// Records before it.
    pub records: u64,
}

/// Reads the records of the input: words, or runs of `ngram` words of one file. A record longer
/// than a key may be is cut to that length.
pub struct Reader<'a> {
    inputs: &'a Inputs,
    pass: Pass,
    file: usize,
    // Bytes of the files before this one.
    bytes_before: u64,
    source: Option<Source>,
    // `buffer[at..filled]` is read and not used; `buffer[0]` is the byte `buffer_offset`.
    buffer: Box<[u8]>,
    at: usize,
    filled: usize,
    buffer_offset: u64,
    word: Vec<u8>,
    window: Window,
    records: u64,
}

impl<'a> Reader<'a> {
    /// A reader that goes on from `position`.
    ///
    /// # Errors
    /// The file of the position cannot be opened, or there is none.
    pub fn new(inputs: &'a Inputs, ngram: usize, position: &Position, pass: Pass) -> Result<Self> {
        let files = inputs.files();
        if position.file > files.len() {
            bail!("position in file {} of {}", position.file, files.len());
        }
        let mut reader = Self {
            inputs,
            pass,
            file: position.file,
            bytes_before: files[..position.file].iter().map(|f| f.bytes).sum(),
            source: None,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            at: 0,
            filled: 0,
            buffer_offset: 0,
            word: Vec::new(),
            window: Window::new(ngram),
            records: position.records,
        };
        if position.file < files.len() {
            reader.open(position.offset)?;
        }
        for word in &position.window {
            reader.window.push(word.as_bytes());
        }
        Ok(reader)
    }

    /// The next record; none at the end of the input.
    ///
    /// # Errors
    /// A file cannot be read, or has become shorter.
    pub fn next(&mut self) -> Result<Option<&[u8]>> {
        while self.source.is_some() {
            if self.next_word()? {
                self.window.push(&self.word);
                if self.window.is_full() {
                    self.records += 1;
                    return Ok(Some(self.window.key()));
                }
            } else {
                self.next_file()?;
            }
        }
        Ok(None)
    }

    /// Where the next record is looked for.
    #[must_use]
    pub fn position(&self) -> Position {
        Position {
            file: self.file,
            offset: self.offset(),
            window: self.window.rest(),
            records: self.records,
        }
    }

    /// Records up to here, those before the first position included.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Bytes up to here.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes_before + self.offset()
    }

    fn offset(&self) -> u64 {
        self.buffer_offset + self.at as u64
    }

    fn open(&mut self, offset: u64) -> Result<()> {
        self.source = Some(self.inputs.open(self.file, offset, self.pass)?);
        (self.at, self.filled, self.buffer_offset) = (0, 0, offset);
        Ok(())
    }

    fn next_file(&mut self) -> Result<()> {
        let file = &self.inputs.files()[self.file];
        let offset = self.offset();
        if file.path != STDIN && offset != file.bytes {
            bail!(
                "{} ended at byte {offset}, when the job began it had {}; leave the input as it is \
                 while a job runs",
                file.path,
                file.bytes
            );
        }
        self.bytes_before += offset;
        self.file += 1;
        self.source = None;
        (self.at, self.filled, self.buffer_offset) = (0, 0, 0);
        self.window.clear();
        if self.file < self.inputs.files().len() { self.open(0) } else { Ok(()) }
    }

    // Puts the next word of the file into `word`; false at its end.
    #[inline]
    fn next_word(&mut self) -> Result<bool> {
        self.word.clear();
        let mut inside = false;
        loop {
            let rest = &self.buffer[self.at..self.filled];
            let start = if inside { Some(0) } else { rest.iter().position(|&b| is_word(b)) };
            if let Some(start) = start {
                inside = true;
                let letters = &rest[start..];
                let len = letters.iter().position(|&b| !is_word(b)).unwrap_or(letters.len());
                let before = self.word.len();
                self.word.extend_from_slice(&letters[..len]);
                self.word[before..].make_ascii_lowercase();
                let end = start + len;
                // Not more than a key holds, however long the run.
                self.word.truncate(KEY_BYTES_MAX);
                if end < rest.len() {
                    self.at += end;
                    return Ok(true);
                }
            }
            self.at = self.filled;
            if !self.fill()? {
                return Ok(inside);
            }
        }
    }

    #[cold]
    fn fill(&mut self) -> Result<bool> {
        let Some(source) = &mut self.source else { return Ok(false) };
        let n = loop {
            match source.read(&mut self.buffer) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let path = &self.inputs.files()[self.file].path;
        let n = n.with_context(|| format!("reading {path}"))?;
        self.buffer_offset += self.filled as u64;
        (self.at, self.filled) = (0, n);
        Ok(n > 0)
    }
}

#[inline]
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

/// The last words of the file, joined.
#[derive(Debug)]
struct Window {
    ngram: usize,
    key: Vec<u8>,
    lengths: VecDeque<usize>,
}

impl Window {
    fn new(ngram: usize) -> Self {
        Self { ngram, key: Vec::new(), lengths: VecDeque::new() }
    }

    #[inline]
    fn push(&mut self, word: &[u8]) {
        if self.is_full() {
            let gone = self.lengths.pop_front().expect("a run has at least one word");
            self.key.drain(..self.key.len().min(gone + 1));
        }
        if !self.lengths.is_empty() {
            self.key.push(b' ');
        }
        self.key.extend_from_slice(word);
        self.lengths.push_back(word.len());
    }

    #[inline]
    fn is_full(&self) -> bool {
        self.lengths.len() == self.ngram
    }

    #[inline]
    fn key(&self) -> &[u8] {
        &self.key[..self.key.len().min(KEY_BYTES_MAX)]
    }

    // What the next run begins with.
    fn rest(&self) -> Vec<String> {
        let words = self.key.split(|&b| b == b' ').take(self.lengths.len());
        let skipped = usize::from(self.is_full());
        words.skip(skipped).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
    }

    fn clear(&mut self) {
        self.key.clear();
        self.lengths.clear();
    }
}

#[cfg(test)]
#[path = "input_tests.rs"]
mod tests;
