//! Where trust begins, and where it shall not be asked for (RFC 4033 section 2, RFC 7646).

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::keys;
use crate::dnssec::{Dnskey, Ds, ds_rdata};
use crate::resolve::security::Unsigned;
use crate::wire::{Name, RrSet, RrSetBuilder, Rtype};
use crate::zone::{ZoneError, ZoneErrors, Zones, parse_records};

/// The keys of the Internet's root: of 2017 and of 2024 (IANA, root-anchors.xml).
const INTERNET: &str = ". DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D\n\
                        . DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16\n";

/// Trust anchors, and names that are not validated.
#[derive(Debug, Default)]
pub struct Anchors {
    /// Zones and what their parents would say of their keys. A zone stands here once.
    trusted: Vec<(Name, Arc<RrSet>)>,
    insecure: Vec<Name>,
}

/// What is above a name.
#[derive(Debug)]
pub enum Above<'a> {
    /// A zone whose keys are known.
    Anchor(&'a Name, &'a Arc<RrSet>),
    /// Something that says that no chain need lead to it.
    Insecure(Unsigned),
    Nothing,
}

impl Anchors {
    /// The Internet's.
    pub fn internet() -> Self {
        let mut anchors = Self::default();
        // The text is right, as the test below shows.
        let _ = anchors.add(INTERNET.as_bytes(), Path::new("built-in trust anchors"));
        anchors
    }

    /// Adds DS and DNSKEY records as a zone file has them. Those of a zone take the place of all that were there before
    /// for it.
    pub fn add(&mut self, text: &[u8], file: &Path) -> Result<(), ZoneErrors> {
        let no_include = |_: &Path| {
            Err(io::Error::new(io::ErrorKind::Unsupported, "$INCLUDE is not taken in trust anchors"))
        };
        let wrong = |message: String| {
            ZoneErrors(vec![ZoneError { file: file.to_owned(), line: 0, column: 0, message }])
        };
        let mut added: Vec<(Name, RrSetBuilder)> = Vec::new();
        for (owner, rtype, rdata) in parse_records(text, file, &Name::root(), &no_include)? {
            let ds = match rtype {
                Rtype::DS => Some(rdata),
                Rtype::DNSKEY => {
                    let key = Dnskey::read(&rdata).filter(super::signature::may_sign);
                    let key = key.ok_or_else(|| {
                        wrong(format!("{owner} DNSKEY: expected a key for the zone (flags 257)"))
                    })?;
                    ds_rdata(&owner, key.rdata(), Ds::SHA256)
                }
                other => return Err(wrong(format!("{owner} {other}: expected DS or DNSKEY records"))),
            };
            let ds = ds.filter(|ds| Ds::read(ds).is_some_and(|ds| keys::is_usable(&ds)));
            let ds = ds.ok_or_else(|| {
                wrong(format!(
                    "{owner} {rtype}: the algorithm or digest type is not known here; expected algorithm 5, 7, 8, 10, 13, 14 \
                     or 15 and digest type 1, 2 or 4"
                ))
            })?;
            let at = added.iter().position(|(zone, _)| *zone == owner).unwrap_or_else(|| {
                added.push((owner, RrSetBuilder::new(Rtype::DS, u32::MAX)));
                added.len() - 1
            });
            added.get_mut(at).into_iter().for_each(|(_, set)| {
                set.push(&ds);
            });
        }
        if added.is_empty() {
            return Err(wrong(
                "expected DS or DNSKEY records, such as \"corp.test. DS 12345 13 2 …\"".to_owned(),
            ));
        }
        for (zone, set) in added {
            self.trusted.retain(|(known, _)| *known != zone);
            self.trusted.extend(set.build().map(|set| (zone, Arc::new(set))));
        }
        Ok(())
    }

    /// Adds a name that is not validated, with all below it.
    pub fn add_insecure(&mut self, name: Name) {
        self.insecure.push(name);
    }

    /// Whether nothing can be validated.
    pub fn is_empty(&self) -> bool {
        self.trusted.is_empty()
    }

    /// What is above a name: the nearest of anchors, names that are not validated and zones of our own.
    pub fn above(&self, name: &Name, zones: &Zones) -> Above<'_> {
        let nearest = self.trusted.iter().filter(|(zone, _)| name.is_at_or_below(zone));
        let Some((zone, ds)) = nearest.max_by_key(|(zone, _)| zone.label_count()) else {
            return Above::Nothing;
        };
        let deeper = |other: &Name| name.is_at_or_below(other) && other.is_at_or_below(zone);
        if self.insecure.iter().any(deeper) {
            return Above::Insecure(Unsigned::Setting);
        }
        if zones.find(&name.key(), Rtype::SOA).is_some_and(|own| own.apex().is_at_or_below(zone)) {
            return Above::Insecure(Unsigned::OwnZone);
        }
        Above::Anchor(zone, ds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anchors(text: &str) -> Result<Anchors, String> {
        let mut anchors = Anchors::default();
        anchors.add(text.as_bytes(), Path::new("anchors")).map_err(|error| error.to_string())?;
        Ok(anchors)
    }

    const DS: &str = "DS 12345 13 2 B4C8C1FE2E7477127B27117656AD6256F424625BF5C1E2770CE6D6E37DF61D17";

    fn shown(anchors: &Anchors, name: &str, zones: &Zones) -> String {
        match anchors.above(&name.parse().unwrap(), zones) {
            Above::Anchor(zone, ds) => format!("{zone} {}", ds.count()),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn the_internets_root_has_two_keys() {
        let anchors = Anchors::internet();
        assert_eq!(shown(&anchors, "alpha.test.", &Zones::default()), ". 2");
        assert!(!anchors.is_empty() && Anchors::default().is_empty());
    }

    #[test]
    fn the_nearest_counts() {
        let mut anchors = anchors(&format!(". {DS}\ncorp.test. {DS}\n")).unwrap();
        anchors.add_insecure("lab.corp.test".parse().unwrap());
        anchors.add_insecure("test".parse().unwrap());
        let own = crate::zone::zone_from_text(
            &"own.corp.test".parse().unwrap(),
            "$TTL 60\n@ SOA ns h 1 1 1 1 1\n@ NS ns\n",
        );
        let own = Zones::new([Arc::new(own.unwrap())]);
        assert_eq!(shown(&anchors, "x.example.", &own), ". 1");
        assert_eq!(shown(&anchors, "x.test.", &own), "Insecure(Setting)");
        assert_eq!(shown(&anchors, "mail.corp.test.", &own), "corp.test. 1");
        assert_eq!(shown(&anchors, "a.lab.corp.test.", &own), "Insecure(Setting)");
        assert_eq!(shown(&anchors, "a.own.corp.test.", &own), "Insecure(OwnZone)");
        assert_eq!(shown(&Anchors::default(), "x.test.", &own), "Nothing");
    }

    #[test]
    fn later_ones_take_the_place_of_a_zones_earlier_ones() {
        let mut anchors = Anchors::internet();
        anchors.add(format!(". {DS}\n").as_bytes(), Path::new("x")).unwrap();
        assert_eq!(shown(&anchors, ".", &Zones::default()), ". 1");
    }

    #[test]
    fn keys_are_anchors_too() {
        let key = "257 3 13 GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA==";
        let made = anchors(&format!("example.net. IN DNSKEY {key}\n")).unwrap();
        let (_, ds) = &made.trusted[0];
        assert_eq!(Ds::read(ds.first()).unwrap().key_tag, 55648);
        for (wrong, why) in [
            (format!("x. DNSKEY {}", key.replace("257", "129")), "expected a key for the zone"),
            (format!("x. DNSKEY {}", key.replace("3 13", "3 99")), "not known here"),
            ("x. A 192.0.2.1".to_owned(), "expected DS or DNSKEY records"),
            ("; nothing".to_owned(), "expected DS or DNSKEY records, such as"),
            ("x. DS 1 13 9 00".to_owned(), "not known here"),
            ("x. DS 1 13".to_owned(), "anchors:1"),
        ] {
            let error = anchors(&wrong).unwrap_err();
            assert!(error.contains(why), "{wrong}: {error}");
        }
    }
}
