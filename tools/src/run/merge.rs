//! A sorted file of counts made of sorted parts: one part at a time is in memory.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, IntoInnerError, Lines, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Sorted parts of a file that is to be.
pub struct Parts {
    path: PathBuf,
    // On the file's disk, where there is room for it; without names, so that they go with the
    // process.
    parts: Vec<File>,
}

impl Parts {
    /// Parts of the file `path`.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn new(path: &Path) -> Result<Self> {
        File::create(path).with_context(|| failed(path))?;
        Ok(Self { path: path.to_owned(), parts: Vec::new() })
    }

    /// Adds a part: `write` writes its lines in order.
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn add(
        &mut self,
        write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
    ) -> Result<()> {
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty());
        let part = tempfile::tempfile_in(folder.unwrap_or(Path::new(".")));
        let mut out = BufWriter::new(part.with_context(|| failed(&self.path))?);
        write(&mut out).with_context(|| failed(&self.path))?;
        let part = out.into_inner().map_err(IntoInnerError::into_error);
        self.parts.push(part.with_context(|| failed(&self.path))?);
        Ok(())
    }

    /// Merges the parts into the file.
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn finish(self) -> Result<()> {
        merge(&self.path, self.parts).with_context(|| failed(&self.path))
    }
}

fn failed(path: &Path) -> String {
    format!("writing {}", path.display())
}

fn merge(path: &Path, parts: Vec<File>) -> std::io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    let mut readers: Vec<Lines<BufReader<File>>> = Vec::new();
    for mut part in parts {
        part.rewind()?;
        readers.push(BufReader::new(part).lines());
    }
    // A tab sorts below every byte of a word, so lines sort like their words.
    let mut heads = BinaryHeap::new();
    for (i, reader) in readers.iter_mut().enumerate() {
        if let Some(line) = reader.next().transpose()? {
            heads.push(Reverse((line, i)));
        }
    }
    while let Some(Reverse((line, i))) = heads.pop() {
        writeln!(out, "{line}")?;
        if let Some(line) = readers[i].next().transpose()? {
            heads.push(Reverse((line, i)));
        }
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_merge_into_the_order_of_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("counts.tsv");
        let mut parts = Parts::new(&path).unwrap();
        for lines in [["a\t1", "a b\t7"], ["a a\t2", "b\t3"], ["0\t9", "ab\t4"]] {
            parts.add(|out| lines.iter().try_for_each(|line| writeln!(out, "{line}"))).unwrap();
        }
        parts.add(|_| Ok(())).unwrap();
        parts.finish().unwrap();
        let merged = std::fs::read_to_string(&path).unwrap();
        assert_eq!(merged, "0\t9\na\t1\na a\t2\na b\t7\nab\t4\nb\t3\n");
    }
}
