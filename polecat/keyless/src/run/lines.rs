//! Lines of a pipe, each of bounded length, however long the writer makes them.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// One line without its line break.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Its first bytes.
    pub bytes: Vec<u8>,
    /// How many bytes were left out.
    pub left_out: u64,
}

/// A pipe read line by line. A `next` that is dropped before it is ready loses nothing.
#[derive(Debug)]
pub struct Lines<R> {
    reader: BufReader<R>,
    line: Line,
    started: bool,
    limit: usize,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Lines of at most `limit` bytes.
    pub fn new(reader: R, limit: usize) -> Self {
        Self {
            reader: BufReader::with_capacity(64 * 1024, reader),
            line: Line::default(),
            started: false,
            limit,
        }
    }

    /// The next line, or none at the end.
    pub async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let buffer = self.reader.fill_buf().await?;
            if buffer.is_empty() {
                let rest = std::mem::take(&mut self.started);
                return Ok(rest.then(|| std::mem::take(&mut self.line)));
            }
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let part = &buffer[..end.unwrap_or(buffer.len())];
            let room = self.limit.saturating_sub(self.line.bytes.len()).min(part.len());
            self.line.bytes.extend_from_slice(&part[..room]);
            self.line.left_out += u64::try_from(part.len() - room).unwrap_or(u64::MAX);
            self.started = true;
            let used = part.len() + usize::from(end.is_some());
            self.reader.consume(used);
            if end.is_some() {
                self.started = false;
                return Ok(Some(std::mem::take(&mut self.line)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(text: &[u8], limit: usize) -> Vec<(String, u64)> {
        let mut lines = Lines::new(text, limit);
        let mut all = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            all.push((String::from_utf8(line.bytes).unwrap(), line.left_out));
        }
        all
    }

    #[tokio::test]
    async fn lines_are_split_and_long_ones_cut() {
        let expected = [("a", 0), ("", 0), ("bcd", 2), ("e", 0)];
        let expected: Vec<_> = expected.map(|(text, left)| (text.to_owned(), left)).into();
        assert_eq!(read(b"a\n\nbcdxx\ne", 3).await, expected);
        assert_eq!(read(b"", 3).await, []);
        assert_eq!(read(b"\n", 3).await, [(String::new(), 0)]);
    }
}
