//! The files of steps: `00000001.jsonl`, `00000002.jsonl` …, the last one growing.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::TraceEvent;

/// Of how many files the whole consists; so much of it is lost at a time when the oldest goes.
const FILES: u64 = 8;

/// The growing end of the log.
#[derive(Debug)]
pub(super) struct Files {
    dir: PathBuf,
    file_max: u64,
    number: u64,
    written: u64,
    out: BufWriter<File>,
}

impl Files {
    pub(super) fn open(dir: &Path, max_bytes: u64) -> io::Result<Files> {
        // Who writes to whom is nobody else's business.
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        // A new file for each run: what a crash tore at the end of the last one stays alone.
        let number = list(dir)?.last().map_or(1, |(number, _)| number + 1);
        let out = create(dir, number)?;
        let files =
            Files { dir: dir.to_owned(), file_max: (max_bytes / FILES).max(1), number, written: 0, out };
        files.forget_oldest()?;
        Ok(files)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn append(&mut self, event: &TraceEvent) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        if self.written > 0 && self.written + line.len() as u64 > self.file_max {
            self.out.flush()?;
            self.number += 1;
            self.out = create(&self.dir, self.number)?;
            self.written = 0;
            self.forget_oldest()?;
        }
        self.written += line.len() as u64;
        self.out.write_all(&line)
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Removes the oldest files until the rest, with a full growing one, is within the bound.
    fn forget_oldest(&self) -> io::Result<()> {
        let files = list(&self.dir)?;
        let mut total = self.file_max;
        for (number, path) in files.iter().rev().filter(|(number, _)| *number != self.number) {
            total += std::fs::metadata(path).map_or(0, |m| m.len());
            if total > self.file_max * FILES {
                tracing::debug!(number, "the oldest steps are forgotten");
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

fn create(dir: &Path, number: u64) -> io::Result<BufWriter<File>> {
    let path = dir.join(format!("{number:08}.jsonl"));
    OpenOptions::new().create(true).append(true).open(path).map(BufWriter::new)
}

/// The files with their numbers, oldest first.
pub(super) fn list(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let numbered = path.extension().is_some_and(|extension| extension == "jsonl");
        if let Some(number) = path.file_stem().and_then(|s| s.to_str()).and_then(|s| s.parse().ok())
            && numbered
        {
            files.push((number, path));
        }
    }
    files.sort();
    Ok(files)
}
