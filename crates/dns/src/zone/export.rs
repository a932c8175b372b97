//! Writes a zone as a zone file: the copy of a secondary zone, and a zone that was updated.
//!
//! The file is replaced as a whole: written beside it, flushed to the disk, renamed. Whoever reads it, also after a
//! power cut, sees the old copy or the new one.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::{RecordPlace, Zone};
use crate::wire::{Rtype, display_rdata};

/// Replaces `file` by the zone. Blocks.
pub fn save_zone(zone: &Zone, file: &Path) -> io::Result<()> {
    // A symbolic link stays one.
    let file = &fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut name = file.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(".new");
    let beside = folder.join(name);
    let created = File::create(&beside)?;
    // Who could read the old file can read the new one, and nobody else.
    if let Ok(old) = fs::metadata(file) {
        created.set_permissions(old.permissions())?;
    }
    let mut writer = BufWriter::new(created);
    write_zone(zone, &mut writer)?;
    writer.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(&beside, file)?;
    File::open(folder)?.sync_all()
}

/// Writes the zone as a text that reads back to the same records.
fn write_zone(zone: &Zone, to: &mut impl Write) -> io::Result<()> {
    writeln!(to, "; {}, version {}: written by the server, which replaces it", zone.apex(), zone.serial())?;
    // Where other programs look for it.
    if let Some(soa) = zone.soa() {
        let data = display_rdata(Rtype::SOA, soa.first());
        writeln!(to, "{} {} IN SOA {data}", zone.apex(), soa.ttl)?;
    }
    let mut result = Ok(());
    zone.walk(&RecordPlace::default(), |node, rrset, rdata| {
        let rtype = rrset.rtype;
        if rtype == Rtype::SOA {
            return true;
        }
        // These have more than one form of text for the same octets, or hold what the text cannot say.
        let data = if matches!(rtype, Rtype::SVCB | Rtype::HTTPS) {
            generic(rdata)
        } else {
            display_rdata(rtype, rdata)
        };
        result = writeln!(to, "{} {} IN {rtype} {data}", node.owner, rrset.ttl);
        result.is_ok()
    });
    result
}

/// RFC 3597 section 5.
fn generic(rdata: &[u8]) -> String {
    let digits: String = rdata.iter().map(|octet| format!("{octet:02X}")).collect();
    format!("\\# {} {digits}", rdata.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Name;
    use crate::zone::{load_zone_file, zone_from_text};

    #[test]
    fn a_copy_reads_back_to_the_same_records() {
        let text = "$TTL 60\n@ SOA ns h\\.x 1 1 1 1 1\n@ NS ns\nns A 192.0.2.1\n@ HTTPS 1 . alpn=h2,h3 port=8443\n\
                    \\$odd\\;\\\"\\@\\(\\).\\000\\255 TXT \"a;b\\\"\\\\\\001\" \"\"\n* TYPE65280 \\# 0\n\
                    n NAPTR 1 2 \"u\" \"s\" \"!^.*$!x!\" .\nc CAA 0 issue \"ca; x=y\"\nu URI 1 2 \"https://x/\"\n";
        let zone = zone_from_text(&"example".parse().unwrap(), text).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("copy");
        for _ in 0..2 {
            save_zone(&zone, &file).unwrap();
        }
        let again = load_zone_file(zone.apex(), &file).unwrap();
        let all = |zone: &Zone| {
            let mut records = Vec::new();
            zone.walk(&RecordPlace::default(), |node, rrset, rdata| {
                records.push((Name::clone(&node.owner), rrset.rtype, rrset.ttl, rdata.to_vec()));
                true
            });
            records
        };
        assert_eq!(all(&again), all(&zone));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        save_zone(&zone, &link).unwrap();
        assert!(link.is_symlink() && !file.is_symlink());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        assert!(save_zone(&zone, &folder.path().join("none/copy")).is_err());
    }
}
