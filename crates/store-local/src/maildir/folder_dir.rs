//! Folder names as directory names: Maildir++ joins levels by "." and begins with one; each level is written
//! in modified UTF-7 (RFC 3501 section 5.1.3), and a "." within a level as the encoded `&AC4-`.

use postroad_store::StoreError;
use postroad_store::mailbox::FolderName;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";
/// Room for a name in the usual file systems.
const DIR_OCTETS_MAX: usize = 250;

/// The directory within the account's; INBOX is the account's own and has the empty name.
pub fn encode(name: &FolderName) -> Result<String, StoreError> {
    let mut dir = String::new();
    if !name.is_inbox() {
        for level in name.levels() {
            dir.push('.');
            encode_level(level, &mut dir);
        }
    }
    if dir.len() > DIR_OCTETS_MAX {
        return Err(StoreError::Invalid(format!("folder name {name}: too long for a file name")));
    }
    Ok(dir)
}

/// The folder that a directory beside cur/ is, if its name is one that a folder can have.
pub fn decode(dir: &str) -> Option<FolderName> {
    let levels: Option<Vec<String>> = dir.strip_prefix('.')?.split('.').map(decode_level).collect();
    let name: FolderName = levels?.join("/").parse().ok()?;
    // A level may hold an encoded "/", or "INBOX" another letter case: then two directories were one folder.
    (encode(&name).ok()? == dir && !name.is_inbox()).then_some(name)
}

fn encode_level(level: &str, out: &mut String) {
    let mut wide: Vec<u16> = Vec::new();
    for c in level.chars() {
        if matches!(c, ' '..='~') && c != '.' {
            flush(&mut wide, out);
            out.push(c);
            if c == '&' {
                out.push('-');
            }
        } else {
            wide.extend_from_slice(c.encode_utf16(&mut [0; 2]));
        }
    }
    flush(&mut wide, out);
}

/// UTF-16 in base 64 between "&" and "-".
fn flush(wide: &mut Vec<u16>, out: &mut String) {
    if wide.is_empty() {
        return;
    }
    out.push('&');
    let (mut bits, mut count) = (0u32, 0);
    for unit in wide.drain(..) {
        bits = bits << 16 | u32::from(unit);
        count += 16;
        while count >= 6 {
            count -= 6;
            out.push(char::from(BASE64[(bits >> count & 63) as usize]));
        }
        bits &= (1 << count) - 1;
    }
    if count > 0 {
        out.push(char::from(BASE64[(bits << (6 - count) & 63) as usize]));
    }
    out.push('-');
}

fn decode_level(level: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = level;
    while let Some((plain, shifted)) = rest.split_once('&') {
        out.push_str(plain);
        let (encoded, after) = shifted.split_once('-')?;
        if encoded.is_empty() {
            out.push('&');
        } else {
            decode_shifted(encoded, &mut out)?;
        }
        rest = after;
    }
    out.push_str(rest);
    (!out.contains('/')).then_some(out)
}

fn decode_shifted(encoded: &str, out: &mut String) -> Option<()> {
    let (mut bits, mut count) = (0u32, 0);
    let mut wide = Vec::new();
    for b in encoded.bytes() {
        let value = BASE64.iter().position(|known| *known == b)?;
        bits = bits << 6 | value as u32;
        count += 6;
        if count >= 16 {
            count -= 16;
            wide.push((bits >> count) as u16);
            bits &= (1 << count) - 1;
        }
    }
    out.push_str(&String::from_utf16(&wide).ok()?);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn dir(name: &str) -> String {
        encode(&name.parse().unwrap()).unwrap()
    }

    #[test]
    fn names_are_as_other_programs_write_them() {
        assert_eq!(dir("INBOX"), "");
        assert_eq!(dir("Work/2026"), ".Work.2026");
        assert_eq!(dir("Entwürfe"), ".Entw&APw-rfe");
        assert_eq!(dir("~peter/mail/台北/日本語"), ".~peter.mail.&U,BTFw-.&ZeVnLIqe-");
        assert_eq!(dir("a.b"), ".a&AC4-b");
        assert_eq!(dir("R&D"), ".R&-D");
        assert_eq!(dir("😀"), ".&2D3eAA-");
    }

    #[test]
    fn directories_that_are_no_folders_of_ours() {
        for text in
            ["", "cur", ".", "..", "...", ".a..b", ".&", ".&AC8-", ".&!-", ".a&AGE-", ".inbox.x", ".INBOX"]
        {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_name_comes_back(name in "\\PC{1,40}") {
            if let Ok(name) = name.parse::<FolderName>() && let Ok(dir) = encode(&name) && !name.is_inbox() {
                prop_assert!(!dir.contains('/') && dir.starts_with('.') && dir != "." && dir != "..");
                prop_assert_eq!(decode(&dir), Some(name));
            }
        }

        #[test]
        fn no_directory_name_harms(dir in "\\PC{0,40}") {
            decode(&dir);
        }
    }
}
