//! Reads a command line and hands it to its verb.

use postroad_types::limits;

use super::{Anomaly, Server};
use crate::codec::line::Line;

impl Server {
    pub(super) fn step_command(&mut self) -> bool {
        let is_auth = self.input.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"AUTH "));
        let octets_max =
            if is_auth { limits::SMTP_AUTH_LINE_OCTETS_MAX } else { limits::SMTP_COMMAND_OCTETS_MAX };
        let Some(line) = self.lines.next(&mut self.input, octets_max) else {
            if self.input_ended {
                self.close();
            }
            return self.input_ended;
        };
        self.deadline = None;
        match line {
            Line::Text(octets) => match std::str::from_utf8(&octets) {
                Ok(text) if !text.contains(|c: char| c.is_control()) => self.command(text),
                _ => self.fault(500, (5, 5, 2), "a command line holds UTF-8 without controls"),
            },
            Line::BareLineEnd => {
                self.anomaly(Anomaly::BareLineEndInCommand);
                self.fault(500, (5, 5, 2), "a line ends with CR LF and nothing else");
            }
            Line::TooLong if is_auth => self.fault(500, (5, 5, 6), "the line is too long"),
            Line::TooLong => self.fault(500, (5, 5, 2), "the line is too long"),
        }
        true
    }

    fn command(&mut self, line: &str) {
        // RFC 5321 §4.1.1: white space before the line end is borne with.
        let line = line.trim_end_matches(' ');
        let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
        let verb = verb.to_ascii_uppercase();
        if self.session.refused && verb != "QUIT" {
            return self.fault(503, (5, 5, 1), "you are not served here; QUIT");
        }
        match verb.as_str() {
            "EHLO" => self.ehlo(argument),
            "HELO" => self.helo(argument),
            "MAIL" => self.mail(argument),
            "RCPT" => self.rcpt(argument),
            "DATA" => self.data(argument),
            "BDAT" => self.bdat(argument),
            "RSET" => self.rset(argument),
            "NOOP" => self.noop(),
            "QUIT" => self.quit(argument),
            "STARTTLS" => self.starttls(argument),
            "AUTH" => self.auth(argument),
            "VRFY" => self.vrfy(argument),
            "EXPN" => self.expn(argument),
            "HELP" => self.help(),
            "ETRN" | "TURN" | "ATRN" | "SEND" | "SOML" | "SAML" => {
                self.fault(502, (5, 5, 1), "command not implemented")
            }
            // A browser that was led here: what follows is chosen by a stranger.
            "GET" | "POST" | "PUT" | "HEAD" | "CONNECT" | "OPTIONS" => {
                self.abandon(421, (4, 7, 0), "this is a mail server")
            }
            _ => self.fault(500, (5, 5, 2), "command not recognised"),
        }
    }

    /// Counts a command that carries no mail; whether it is still to be served.
    pub(super) fn idle_command(&mut self) -> bool {
        self.idle_commands += 1;
        if self.idle_commands > limits::SMTP_IDLE_COMMANDS_MAX {
            self.abandon(421, (4, 7, 0), "too many commands without a message");
            return false;
        }
        true
    }

    /// Refuses an argument where there is none; whether that was so.
    pub(super) fn refuse_argument(&mut self, argument: &str) -> bool {
        if argument.is_empty() {
            return false;
        }
        self.fault(501, (5, 5, 4), "this command takes no argument");
        true
    }
}
