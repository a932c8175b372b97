//! Splits a zone file into entries of words (RFC 1035 section 5.1): comments, parentheses that join lines,
//! quotation marks, escapes. Escapes stay in the words: a name reads `\.` otherwise than `.`.

use crate::wire::Word;

/// One entry: a directive or a record, over as many lines as its parentheses span.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub words: Vec<Word>,
    /// The line began with white space: the owner is that of the record before.
    pub continues_owner: bool,
    pub line: u32,
    /// Position after the last word, for errors about what is missing.
    pub end: (u32, u32),
}

/// What is wrong, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LexError {
    pub line: u32,
    pub column: u32,
    pub message: String,
}

#[derive(Debug)]
pub(super) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    line: u32,
    line_start: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        Self { text, at: 0, line: 1, line_start: 0 }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn column(&self) -> u32 {
        u32::try_from(self.at - self.line_start + 1).unwrap_or(u32::MAX)
    }

    fn newline(&mut self) {
        self.at += 1;
        self.line += 1;
        self.line_start = self.at;
    }

    /// Goes on after the line where an error was, so that more errors can be reported.
    pub(super) fn skip_line(&mut self) {
        while self.peek().is_some_and(|octet| octet != b'\n') {
            self.at += 1;
        }
        if self.peek().is_some() {
            self.newline();
        }
    }

    /// The next entry that has words; `None` at the end of the file.
    pub(super) fn entry(&mut self) -> Result<Option<Entry>, LexError> {
        let mut entry =
            Entry { words: Vec::new(), continues_owner: false, line: self.line, end: (self.line, 1) };
        let mut parentheses: Vec<(u32, u32)> = Vec::new();
        let mut at_line_start = true;
        loop {
            let Some(octet) = self.peek() else {
                if let Some((line, column)) = parentheses.pop() {
                    return Err(LexError {
                        line,
                        column,
                        message: "this ( is never closed; expected )".into(),
                    });
                }
                return Ok(Some(entry).filter(|entry| !entry.words.is_empty()));
            };
            match octet {
                b'\n' => {
                    self.newline();
                    if parentheses.is_empty() {
                        if !entry.words.is_empty() {
                            return Ok(Some(entry));
                        }
                        entry.continues_owner = false;
                        entry.line = self.line;
                        at_line_start = true;
                        continue;
                    }
                }
                b' ' | b'\t' | b'\r' => {
                    entry.continues_owner |= at_line_start && entry.words.is_empty();
                    self.at += 1;
                }
                b';' => {
                    while self.peek().is_some_and(|octet| octet != b'\n') {
                        self.at += 1;
                    }
                }
                b'(' => {
                    parentheses.push((self.line, self.column()));
                    self.at += 1;
                }
                b')' => {
                    if parentheses.pop().is_none() {
                        let (line, column) = (self.line, self.column());
                        return Err(LexError {
                            line,
                            column,
                            message: "this ) closes nothing; expected ( before".into(),
                        });
                    }
                    self.at += 1;
                }
                b'"' => {
                    let word = self.quoted()?;
                    entry.words.push(word);
                    entry.end = (self.line, self.column());
                }
                _ => {
                    let word = self.plain()?;
                    entry.words.push(word);
                    entry.end = (self.line, self.column());
                }
            }
            at_line_start = false;
        }
    }

    fn quoted(&mut self) -> Result<Word, LexError> {
        let (line, column) = (self.line, self.column());
        self.at += 1;
        let mut text = Vec::new();
        loop {
            match self.peek() {
                None | Some(b'\n') => {
                    return Err(LexError {
                        line,
                        column,
                        message: "this \" is not closed on its line".into(),
                    });
                }
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Word { text, quoted: true, line, column });
                }
                Some(b'\\') => self.escape(&mut text)?,
                Some(octet) => {
                    text.push(octet);
                    self.at += 1;
                }
            }
        }
    }

    fn plain(&mut self) -> Result<Word, LexError> {
        let (line, column) = (self.line, self.column());
        let mut text = Vec::new();
        while let Some(octet) = self.peek() {
            match octet {
                // A value of SVCB and HTTPS may be quoted in the middle of a word (RFC 9460 section 2.1).
                b'"' if text.last() == Some(&b'=') => {
                    let value = self.quoted()?;
                    text.push(b'"');
                    text.extend(value.text);
                    text.push(b'"');
                }
                b' ' | b'\t' | b'\r' | b'\n' | b';' | b'(' | b')' | b'"' => break,
                b'\\' => self.escape(&mut text)?,
                octet => {
                    text.push(octet);
                    self.at += 1;
                }
            }
        }
        Ok(Word { text, quoted: false, line, column })
    }

    /// Takes a `\` and the octet after it, whatever it is.
    fn escape(&mut self, text: &mut Vec<u8>) -> Result<(), LexError> {
        match self.text.get(self.at + 1) {
            Some(&octet) if octet != b'\n' => {
                text.extend_from_slice(&[b'\\', octet]);
                self.at += 2;
                Ok(())
            }
            _ => Err(LexError {
                line: self.line,
                column: self.column(),
                message: "a \\ must be followed by a character or by three digits".into(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Vec<Vec<String>> {
        let mut lexer = Lexer::new(text.as_bytes());
        let mut entries = Vec::new();
        while let Some(entry) = lexer.entry().unwrap() {
            entries.push(
                entry.words.iter().map(|word| String::from_utf8_lossy(&word.text).into_owned()).collect(),
            );
        }
        entries
    }

    #[test]
    fn parentheses_join_lines_and_comments_end_them() {
        let text = "a SOA b ( 1 ; serial (not this)\n\t2 ) ; done\r\n\n; nothing\n   \nc TXT \"x ; y\" z\\;w(\n)\nd HTTPS alpn=\"h2 ,h3\"";
        assert_eq!(
            entries(text),
            [
                vec!["a", "SOA", "b", "1", "2"],
                vec!["c", "TXT", "x ; y", "z\\;w"],
                vec!["d", "HTTPS", "alpn=\"h2 ,h3\""]
            ]
        );
    }

    #[test]
    fn positions_and_owners() {
        let mut lexer = Lexer::new(b"\n  A 192.0.2.1\nb\tTXT \"q\"");
        let first = lexer.entry().unwrap().unwrap();
        assert!(first.continues_owner);
        assert_eq!((first.line, first.words[1].line, first.words[1].column), (2, 2, 5));
        let second = lexer.entry().unwrap().unwrap();
        assert!(!second.continues_owner && second.words[2].quoted);
        assert_eq!((second.words[2].column, second.end), (7, (3, 10)));
        assert_eq!(lexer.entry().unwrap(), None);
    }

    #[test]
    fn what_is_not_closed_is_an_error_where_it_opens() {
        for (text, line, column) in
            [("a A (\n1\n", 1, 5), ("a TXT \"b\nc\"", 1, 7), ("a A 1 )", 1, 7), ("\na b\\", 2, 4)]
        {
            let mut lexer = Lexer::new(text.as_bytes());
            let error = std::iter::repeat_with(|| lexer.entry()).find_map(Result::err).unwrap();
            assert_eq!((error.line, error.column), (line, column), "{text:?}: {}", error.message);
        }
    }
}
