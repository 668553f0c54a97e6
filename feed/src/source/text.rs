//! The lines of a text file, plain or compressed.

use std::path::{Path, PathBuf};

use super::SourceError;
use super::input::Input;

/// A line is at most this long.
const LINE_BYTES_MAX: usize = 64 << 10;

/// A text file, read line by line.
pub struct TextFile {
    path: PathBuf,
    input: Input,
    /// Bytes of the line handed out last, with its end.
    behind: u64,
}

impl TextFile {
    /// Opens it at its first line.
    pub fn open(path: &Path) -> Result<TextFile, SourceError> {
        Ok(TextFile {
            path: path.into(),
            input: Input::open(path, false)?,
            behind: 0,
        })
    }

    /// Where the line handed out last begins in the decompressed file.
    pub fn offset_bytes(&self) -> u64 {
        self.input.offset()
    }

    /// The next line, without its end and without space around it; `None` behind the last.
    pub fn line(&mut self) -> Result<Option<&[u8]>, SourceError> {
        self.input.skip(std::mem::take(&mut self.behind));
        let bytes = self.input.peek(LINE_BYTES_MAX);
        let window = bytes.len().min(LINE_BYTES_MAX);
        let end = bytes[..window].iter().position(|byte| *byte == b'\n');
        let (len, behind) = match end {
            Some(len) => (len, len + 1),
            None if window < LINE_BYTES_MAX => (window, window),
            None => {
                let what = format!("line without an end, want one within {LINE_BYTES_MAX} bytes");
                return Err(self.error(what));
            }
        };
        if window == 0 {
            let failure = self.input.failure().map(ToString::to_string);
            return failure.map_or(Ok(None), |what| Err(self.error(what)));
        }
        self.behind = behind as u64;
        Ok(Some(self.input.bytes()[..len].trim_ascii()))
    }

    /// Something wrong with the line handed out last.
    pub fn error(&self, what: String) -> SourceError {
        SourceError {
            path: self.path.clone(),
            offset_bytes: Some(self.input.offset()),
            what,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_their_places() {
        let path = std::env::temp_dir().join(format!("tapeline-text-{}", std::process::id()));
        std::fs::write(&path, "a,b\r\n\n c").unwrap();
        let mut file = TextFile::open(&path).unwrap();
        let mut lines = Vec::new();
        while let Some(line) = file.line().unwrap() {
            let line = line.to_vec();
            lines.push((line, file.offset_bytes()));
        }
        let want: [(&[u8], u64); 3] = [(b"a,b", 0), (b"", 5), (b"c", 6)];
        assert_eq!(lines, want.map(|(line, at)| (line.to_vec(), at)));
        std::fs::write(&path, vec![b'x'; LINE_BYTES_MAX + 1]).unwrap();
        let mut file = TextFile::open(&path).unwrap();
        let error = file.line().unwrap_err().to_string();
        assert!(error.contains("line without an end"), "{error}");
        std::fs::remove_file(&path).unwrap();
    }
}
