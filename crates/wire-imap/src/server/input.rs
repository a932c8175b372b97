//! From octets to whole commands.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postroad_types::limits::{
    IMAP_COMMAND_OCTETS_MAX, IMAP_DISCARDED_OCTETS_MAX, IMAP_LINE_OCTETS_MAX, IMAP_LITERAL_OCTETS_MAX,
};

use super::{Ask, Output, Phase, SaslOctets, Server};
use crate::command::append;
use crate::reader::{Reader, Refusal};
use crate::response::{Code, Status};

/// `{size}` or `{size+}` at the end of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Literal {
    size: u64,
    /// The client waits for `+`.
    synchronising: bool,
}

/// The longest marker of a literal with its line end: `{18446744073709551615+}` CRLF.
const MARKER_OCTETS_MAX: usize = 25;

/// `line` is without its line end. A number beyond 64 bits counts as the largest.
fn literal_at_end(line: &[u8]) -> Option<Literal> {
    let inside = line.strip_suffix(b"}")?;
    let open = memchr::memrchr(b'{', inside)?;
    let digits = inside.get(open + 1..)?;
    let (digits, plus) = digits.strip_suffix(b"+").map_or((digits, false), |digits| (digits, true));
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let size = std::str::from_utf8(digits).ok().and_then(|d| d.parse().ok()).unwrap_or(u64::MAX);
    Some(Literal { size, synchronising: !plus })
}

fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

impl Server {
    /// Goes as far as the input and the driver's answers allow.
    pub(super) fn process(&mut self) {
        if std::mem::replace(&mut self.processing, true) {
            return;
        }
        loop {
            let moved = match &self.phase {
                Phase::Command => self.read_command(),
                Phase::Sasl | Phase::SaslLast => self.read_sasl(),
                Phase::Idle => self.read_idle(),
                Phase::AppendBody { .. } => self.read_append_body(),
                Phase::AppendTail => self.read_append_tail(),
                Phase::Skip { .. } => self.read_skip(),
                Phase::Executing | Phase::AppendAsked { .. } | Phase::Tls | Phase::Closed => false,
            };
            if !moved {
                break;
            }
        }
        self.processing = false;
        if self.read > 0 {
            self.input.drain(..self.read.min(self.input.len()));
            self.read = 0;
        }
    }

    fn unread(&self) -> &[u8] {
        self.input.get(self.read..).unwrap_or_default()
    }

    /// The next line, or `None` until it is whole. A line beyond the bound ends the session: these are read
    /// where only a short one makes sense.
    fn take_line(&mut self) -> Option<Vec<u8>> {
        let Some(end) = memchr::memchr(b'\n', self.unread()) else {
            if self.unread().len() > IMAP_LINE_OCTETS_MAX {
                self.bye(Status::bye("a line is too long"));
            }
            return None;
        };
        let line = without_line_end(self.unread().get(..end).unwrap_or_default()).to_vec();
        self.read += end + 1;
        Some(line)
    }

    /// Takes up a piece of the command at hand; whether anything moved.
    fn read_command(&mut self) -> bool {
        if self.literal_left > 0 {
            let length = self.literal_left.min(self.unread().len());
            let piece = self.input.get(self.read..self.read + length).unwrap_or_default();
            self.command.extend_from_slice(piece);
            self.read += length;
            self.literal_left -= length;
            self.line_start = self.command.len();
            return length > 0;
        }
        let unread = self.input.get(self.read..).unwrap_or_default();
        if unread.is_empty() {
            return false;
        }
        let end = memchr::memchr(b'\n', unread);
        let piece = unread.get(..end.map_or(unread.len(), |at| at + 1)).unwrap_or_default();
        let line_length = self.command.len() - self.line_start + piece.len();
        let too_long = line_length > IMAP_LINE_OCTETS_MAX;
        if too_long || self.command.len() + piece.len() > IMAP_COMMAND_OCTETS_MAX {
            let room = IMAP_LINE_OCTETS_MAX.saturating_sub(self.command.len() - self.line_start);
            let before = line_length - piece.len();
            self.command.extend_from_slice(piece.get(..room.min(piece.len())).unwrap_or_default());
            let reply = self.refusal_of_input(Status::bad("the command is too long").with(Code::TooBig));
            // Skip reads the rest of the line, and this piece of it again for a literal's marker.
            let tail = self.command.get(self.line_start..self.line_start + before).unwrap_or_default();
            let tail = tail.get(tail.len().saturating_sub(MARKER_OCTETS_MAX)..).unwrap_or_default().to_vec();
            self.phase = Phase::Skip { left: 0, skipped: 0, tail, reply };
            return true;
        }
        self.command.extend_from_slice(piece);
        self.read += piece.len();
        if end.is_some() {
            self.end_line();
        }
        true
    }

    /// A line of the command is whole: the command is, or a literal begins.
    fn end_line(&mut self) {
        let line = self.command.get(self.line_start..).unwrap_or_default();
        let Some(literal) = literal_at_end(without_line_end(line)) else {
            let whole = std::mem::take(&mut self.command);
            self.line_start = 0;
            return self.dispatch(without_line_end(&whole));
        };
        match self.append_head(literal.size) {
            Some(Ok(append::Head::Message(append))) => {
                if append.size > self.config.append_octets_max {
                    let text = format!("the message is larger than {} octets", self.config.append_octets_max);
                    return self.refuse_literal(literal, Status::no(text).with(Code::TooBig));
                }
                if append.size == 0 {
                    return self.refuse_literal(literal, Status::no("the message is empty"));
                }
                self.set_tag();
                self.phase = Phase::AppendAsked { size: append.size, synchronising: literal.synchronising };
                self.outputs.push_back(Output::Ask(Ask::Append(append)));
            }
            Some(Err(Refusal::Syntax(why))) => self.refuse_literal(literal, Status::bad(why)),
            Some(Err(Refusal::No(code, why))) => {
                self.refuse_literal(literal, Status { code, ..Status::no(why) });
            }
            Some(Ok(append::Head::Mailbox)) | None => self.begin_literal(literal),
        }
    }

    /// A literal that is part of the command.
    fn begin_literal(&mut self, literal: Literal) {
        let size = usize::try_from(literal.size).unwrap_or(usize::MAX);
        let room = IMAP_COMMAND_OCTETS_MAX.saturating_sub(self.command.len());
        if size > IMAP_LITERAL_OCTETS_MAX.min(room) {
            let text = format!("a literal here may have {} octets", IMAP_LITERAL_OCTETS_MAX.min(room));
            return self.refuse_literal(literal, Status::bad(text).with(Code::TooBig));
        }
        if literal.synchronising {
            self.write(b"+ go on\r\n".to_vec());
        }
        self.literal_left = size;
        self.line_start = self.command.len();
    }

    /// Refuses the command at its literal: a client that waits for `+` sends no more of it, another one has
    /// sent it already.
    fn refuse_literal(&mut self, literal: Literal, status: Status) {
        let reply = self.refusal_of_input(status);
        if literal.synchronising {
            self.write(reply);
            self.next_command();
        } else {
            self.skip(literal.size, reply);
        }
    }

    /// The tagged answer to a command that is not read to its end.
    fn refusal_of_input(&mut self, status: Status) -> Vec<u8> {
        self.errors += 1;
        self.set_tag();
        let tag = std::mem::take(&mut self.tag);
        let mut reply = Vec::new();
        status.write_to(&mut reply, &tag);
        reply
    }

    /// Sets the tag from the command at hand; `*` if it has none.
    fn set_tag(&mut self) {
        let mut reader = Reader::new(&self.command);
        let tag = reader.tag().filter(|tag| tag.len() <= 256 && reader.peek() == Some(b' '));
        self.tag = tag.unwrap_or(b"*").to_vec();
    }

    /// If the command at hand is an APPEND in a state that allows it: what the literal at its end is.
    fn append_head(&self, size: u64) -> Option<Result<append::Head, Refusal>> {
        let mut reader = Reader::new(&self.command);
        reader.tag()?;
        (reader.eat(b' ') && reader.eat_word("APPEND") && self.is_authenticated())
            .then(|| append::parse_head(reader.rest(), size))
    }

    /// Throws away `left` octets and the rest of the line, then says `reply`.
    pub(super) fn skip(&mut self, left: u64, reply: Vec<u8>) {
        if left > IMAP_DISCARDED_OCTETS_MAX {
            self.write(reply);
            return self.bye(Status::bye("what was sent is too much to be passed over"));
        }
        self.phase = Phase::Skip { left, skipped: left, tail: Vec::new(), reply };
    }

    fn read_skip(&mut self) -> bool {
        let unread = self.input.get(self.read..).unwrap_or_default();
        let Phase::Skip { left, skipped, tail, reply } = &mut self.phase else { return false };
        if unread.is_empty() {
            return false;
        }
        if *left > 0 {
            let length = usize::try_from(*left).unwrap_or(usize::MAX).min(unread.len());
            *left -= length as u64;
            self.read += length;
            return true;
        }
        let end = memchr::memchr(b'\n', unread);
        let length = end.map_or(unread.len(), |at| at + 1);
        tail.extend_from_slice(unread.get(..length).unwrap_or_default());
        tail.drain(..tail.len().saturating_sub(MARKER_OCTETS_MAX));
        *skipped += length as u64;
        self.read += length;
        if end.is_some() {
            let literal = literal_at_end(without_line_end(tail)).filter(|literal| !literal.synchronising);
            tail.clear();
            match literal {
                Some(literal) => {
                    *left = literal.size;
                    *skipped = skipped.saturating_add(literal.size);
                }
                None => {
                    let reply = std::mem::take(reply);
                    self.write(reply);
                    self.next_command();
                    return true;
                }
            }
        }
        if *skipped > IMAP_DISCARDED_OCTETS_MAX {
            let reply = std::mem::take(reply);
            self.write(reply);
            self.bye(Status::bye("what was sent is too much to be passed over"));
        }
        true
    }

    fn read_append_body(&mut self) -> bool {
        let unread = self.input.get(self.read..).unwrap_or_default();
        let Phase::AppendBody { left } = &mut self.phase else { return false };
        let length = usize::try_from(*left).unwrap_or(usize::MAX).min(unread.len());
        if length > 0 {
            self.outputs.push_back(Output::AppendChunk(unread.get(..length).unwrap_or_default().to_vec()));
            self.read += length;
            *left -= length as u64;
        }
        if *left == 0 {
            self.phase = Phase::AppendTail;
            return true;
        }
        false
    }

    /// Behind the message only the line end may come: several messages in one APPEND (RFC 3502) are not known.
    fn read_append_tail(&mut self) -> bool {
        let Some(line) = self.take_line() else { return false };
        if line.is_empty() {
            self.phase = Phase::Executing;
            self.outputs.push_back(Output::AppendEnd);
            return true;
        }
        self.outputs.push_back(Output::AppendBroken);
        self.phase = Phase::Executing;
        if let Some(Literal { size, synchronising: false }) = literal_at_end(&line) {
            let mut reply = Vec::new();
            let tag = std::mem::take(&mut self.tag);
            Status::bad("one message in one APPEND").write_to(&mut reply, &tag);
            self.errors += 1;
            self.skip(size, reply);
        } else {
            self.finish(Status::bad("unexpected characters behind the message"));
        }
        true
    }

    fn read_sasl(&mut self) -> bool {
        let Some(line) = self.take_line() else { return false };
        let last = matches!(self.phase, Phase::SaslLast);
        self.phase = Phase::Executing;
        let cancelled = line == b"*";
        match STANDARD.decode(&line) {
            // The directory has said yes already; whatever the client answers to its last word, but a
            // cancellation, is empty or of no meaning.
            _ if last && !cancelled => self.welcome(),
            Ok(octets) if !cancelled => self.outputs.push_back(Output::SaslResponse(SaslOctets(octets))),
            _ => {
                self.state = super::State::NotAuthenticated;
                self.outputs.push_back(Output::SaslCancelled);
                self.finish(Status::bad(if cancelled { "cancelled" } else { "the response is not base64" }));
            }
        }
        true
    }

    fn read_idle(&mut self) -> bool {
        let Some(line) = self.take_line() else { return false };
        self.phase = Phase::Executing;
        if !line.eq_ignore_ascii_case(b"DONE") {
            // Whatever it is, the client does not know that it idles; the driver's OK comes with a hint.
            self.untagged(&crate::Untagged::Condition(Status::bad("expected DONE; IDLE ends")));
        }
        self.outputs.push_back(Output::IdleDone);
        true
    }
}
