//! The part for people.

use std::fmt::Write;

use super::{Action, Notice, Original};
use crate::clock::between;
use crate::message::date;
use crate::queue::SELF;

/// Plain text with CRLF line ends.
pub(super) fn write(original: &Original<'_>) -> String {
    let mut out = String::new();
    let mut line = |text: std::fmt::Arguments<'_>| {
        // Writing to a String cannot fail.
        let _ = write!(out, "{text}\r\n");
    };
    line(format_args!("This is the mail system at {}.", original.hostname));
    line(format_args!(""));
    let back = if original.whole { "It is attached." } else { "Its header is attached." };
    match original.notice {
        Notice::Failed => {
            line(format_args!("Your message could not be delivered to the recipients below, and no"));
            line(format_args!("further attempt will be made. {back}"));
        }
        Notice::Delayed => {
            line(format_args!("Your message could not be delivered to the recipients below yet."));
            line(format_args!(
                "IT IS STILL BEING TRIED, until {}. You need not send it again.",
                date::rfc5322(original.message.expires_at)
            ));
        }
        Notice::Done => {
            line(format_args!("You asked to hear what became of your message. It was handed over for the"));
            line(format_args!("recipients below."));
        }
    }
    line(format_args!(""));
    for concerned in original.recipients {
        let (address, attempt) = (&concerned.recipient.address, concerned.attempt);
        line(format_args!("<{address}>"));
        if original.notice == Notice::Failed && attempt.reply.is_transient() {
            let hours = between(original.message.accepted_at, original.now).as_secs() / 3600;
            line(format_args!("    It could not be delivered in {hours} hours. The last attempt's answer:"));
        }
        match concerned.action {
            Action::Failed | Action::Delayed => {}
            Action::Delivered => line(format_args!("    It lies in the mailbox.")),
            Action::Relayed => {
                line(format_args!(
                    "    It went on to a host that may send no report: this is the last you hear."
                ));
            }
            Action::Expanded => line(format_args!("    It goes on to those whom this address stands for.")),
        }
        let reply = attempt.reply.to_string();
        if attempt.host == SELF {
            line(format_args!("    {reply}"));
        } else {
            line(format_args!("    {} said: {reply}", attempt.host));
        }
        line(format_args!(""));
    }
    line(format_args!("If you need help, write to <{}> and include this message.", original.postmaster));
    line(format_args!("Queue id {}, trace {}.", original.message.id, original.message.trace_id));
    out
}
