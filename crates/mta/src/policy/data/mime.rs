//! A message's parts: how many, how deep, and what kind of files they are.
//!
//! A file's name stands in Content-Disposition (`filename`) or Content-Type (`name`), plain, with encoded-words
//! (which RFC 2047 forbids and everyone sends) or in RFC 2231's pieces. Where several forms are there, programs
//! differ on which counts: here each of them does.

use postroad_config::Policy as Settings;
use postroad_mime::content::{Parameter, parameter};
use postroad_mime::{Body, Content, Structure, encoded_word};

use crate::consignment::reply;
use crate::policy::verdict::Finding;

/// Whether there is anything to look for.
pub(super) fn is_wanted(settings: &Settings) -> bool {
    settings.mime_parts_max > 0
        || settings.mime_depth_max > 0
        || !settings.attachment_extensions.is_empty()
        || !settings.attachment_types.is_empty()
}

pub(super) fn limits(settings: &Settings, structure: &Structure) -> Finding {
    const CHECK: &str = "mime-limits";
    let parts = structure.parts().len();
    if settings.mime_parts_max > 0 && parts > settings.mime_parts_max {
        let text = format!("{parts} MIME parts are too many, {} may be", settings.mime_parts_max);
        return Finding::refuse(CHECK, reply(554, (5, 6, 0), text));
    }
    let depth = depth(structure);
    if settings.mime_depth_max > 0 && depth > settings.mime_depth_max {
        let text = format!("MIME parts lie {depth} deep, {} may be", settings.mime_depth_max);
        return Finding::refuse(CHECK, reply(554, (5, 6, 0), text));
    }
    Finding::clean(CHECK)
}

/// 1 for a message without parts.
fn depth(structure: &Structure) -> usize {
    let (mut deepest, mut open) = (1, vec![(Structure::ROOT, 1)]);
    while let Some((id, depth)) = open.pop() {
        deepest = deepest.max(depth);
        match &structure.part(id).inside {
            Body::Leaf => {}
            Body::Multipart(parts) => open.extend(parts.iter().map(|part| (*part, depth + 1))),
            Body::Message(part) => open.push((*part, depth + 1)),
        }
    }
    deepest
}

pub(super) fn attachments(settings: &Settings, structure: &Structure) -> Finding {
    const CHECK: &str = "attachment";
    for part in structure.parts() {
        let content = &part.content;
        let kind = format!(
            "{}/{}",
            String::from_utf8_lossy(&content.kind).to_ascii_lowercase(),
            String::from_utf8_lossy(&content.subkind).to_ascii_lowercase()
        );
        if settings.attachment_types.iter().any(|forbidden| forbidden.eq_ignore_ascii_case(&kind)) {
            let text = format!("attachments of type {} are not taken here", shown(&kind));
            return Finding::refuse(CHECK, reply(552, (5, 7, 1), text));
        }
        for name in names(content) {
            if let Some(extension) = forbidden(settings, &name) {
                let text = format!("attachments such as {} (.{extension}) are not taken here", shown(&name));
                return Finding::refuse(CHECK, reply(552, (5, 7, 1), text));
            }
        }
    }
    Finding::clean(CHECK)
}

/// The forbidden ending of a name. Windows drops dots and spaces at the end.
fn forbidden<'a>(settings: &'a Settings, name: &str) -> Option<&'a str> {
    let name = name.trim_end_matches(|c: char| c == '.' || c.is_whitespace() || c.is_control());
    let (_, extension) = name.rsplit_once('.')?;
    settings.attachment_extensions.iter().find(|e| e.eq_ignore_ascii_case(extension)).map(String::as_str)
}

/// All names that a part gives itself.
fn names(content: &Content) -> Vec<String> {
    let disposition = content.disposition.as_ref().map(|disposition| disposition.parameters.as_slice());
    let mut names = Vec::new();
    for (parameters, name) in [(disposition.unwrap_or_default(), "filename"), (&content.parameters, "name")] {
        let is_plain = |p: &&Parameter| p.name.eq_ignore_ascii_case(name.as_bytes());
        names.extend(parameters.iter().filter(is_plain).map(|p| encoded_word::decode(&p.value)));
        let pieces: Vec<Parameter> = parameters.iter().filter(|p| !is_plain(p)).cloned().collect();
        names.extend(parameter(&pieces, name).map(|value| encoded_word::decode(&value)));
    }
    names
}

/// A client's words, fit for a reply.
fn shown(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    text.chars().map(plain).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(content: &str) -> Finding {
        let message = format!(
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\n{content}\r\n\r\nMZ\r\n--b--\r\n"
        );
        attachments(&Settings::default(), &Structure::parse(message.as_bytes()))
    }

    #[test]
    fn a_name_is_found_in_whatever_form_it_comes() {
        for (content, verdict) in [
            ("Content-Type: application/pdf; name=a.pdf", "pass"),
            ("Content-Disposition: attachment; filename=\"exe\"", "pass"),
            ("Content-Disposition: attachment; filename=\"a.exe.pdf\"", "pass"),
            ("Content-Disposition: attachment; filename=a.EXE", "refuse"),
            ("Content-Disposition: attachment; filename=\"a.exe. .\"", "refuse"),
            ("Content-Type: image/png; name=\"a.scr\"", "refuse"),
            ("Content-Type: image/png; name=\"=?utf-8?B?YS5leGU=?=\"", "refuse"),
            ("Content-Disposition: attachment;\r\n filename*0=a.e;\r\n filename*1=xe", "refuse"),
            ("Content-Disposition: attachment; filename*=utf-8''a%2Ee%78e", "refuse"),
            ("Content-Disposition: attachment; filename=a.pdf; filename*=utf-8''a.exe", "refuse"),
            ("Content-Disposition: attachment; filename=a.pdf; filename=a.exe", "refuse"),
            ("Content-Type: message/rfc822\r\n\r\nContent-Type: text/plain; name=a.vbs", "refuse"),
        ] {
            assert_eq!(found(content).verdict.name(), verdict, "{content}");
        }
        let typed =
            Settings { attachment_types: vec!["Application/X-MSDownload".into()], ..Settings::default() };
        let message = b"Content-Type: application/x-msdownload\r\n\r\nMZ";
        assert_eq!(attachments(&typed, &Structure::parse(message)).verdict.name(), "refuse");
    }

    #[test]
    fn parts_and_depth_are_bounded() {
        let settings = Settings { mime_parts_max: 4, mime_depth_max: 3, ..Settings::default() };
        let many = |parts: usize| {
            let part = "--b\r\n\r\nx\r\n".repeat(parts);
            format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{part}--b--\r\n")
        };
        let deep =
            |depth: usize| "Content-Type: message/rfc822\r\n\r\n".repeat(depth) + "Subject: x\r\n\r\nx";
        for (message, verdict) in
            [(many(3), "pass"), (many(4), "refuse"), (deep(2), "pass"), (deep(3), "refuse")]
        {
            let finding = limits(&settings, &Structure::parse(message.as_bytes()));
            assert_eq!(finding.verdict.name(), verdict, "{message:?}: {finding:?}");
        }
    }
}
