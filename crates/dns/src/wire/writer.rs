//! Writes a response into a buffer: whole record sets, names compressed (RFC 1035 section 4.1.4), never longer
//! than the asker takes. A set that does not fit is left out whole and the writer says so.

use postroad_types::limits::DNS_NAME_OCTETS_MAX;

use super::options::ReplyOptions;
use super::query::{HEADER_OCTETS, u16_at};
use super::template::SoaTemplate;
use super::{Name, Request, RrSet, Rtype};

/// Sections of a message that hold records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    Answer = 0,
    Authority = 1,
    Additional = 2,
}

/// Names that later names of the message may point to; more are written out.
const COMPRESSION_TARGETS: usize = 48;
/// Labels that most names do not have more of.
const LABELS_FEW: usize = 12;
const LABELS_MAX: usize = DNS_NAME_OCTETS_MAX / 2 + 1;
/// TTLs of a response whose places are told.
pub const TTL_PLACES_MAX: usize = 24;
/// Where the TTL of a record stands whose owner is a pointer.
const TTL_AT: usize = 6;
/// Octets of an OPT record without options.
const OPT_OCTETS: usize = 11;
/// Octets of an extended error without a text.
const EXTENDED_ERROR_OCTETS: usize = 6;

const CLASS_IN: u16 = 1;

/// What a compression pointer may do to the case of letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    /// An owner takes on the case in which it was asked for.
    Any,
    /// A name in the data is given as it is stored.
    Kept,
}

/// A response under way. Sections must be written in their order.
#[derive(Debug)]
pub struct Writer<'b> {
    buffer: &'b mut Vec<u8>,
    /// Greatest length of the message, room for OPT taken off.
    limit: usize,
    options: ReplyOptions<'b>,
    counts: [u16; 3],
    targets: [(u32, u16); COMPRESSION_TARGETS],
    target_count: usize,
    /// Where the question ends.
    question_end: usize,
    question_known: bool,
    case_bound: bool,
    largest_set: u16,
    /// Records so far.
    written: usize,
    /// Where the TTLs of the first records stand.
    ttl_places: [u16; TTL_PLACES_MAX],
    pub authoritative: bool,
    pub truncated: bool,
    pub recursion_available: bool,
    /// All that is answered is secure (RFC 4035 section 3.2.3).
    pub authentic: bool,
    /// The full response code (RFC 6891 section 6.1.3).
    pub rcode: u16,
    /// Why it is no better (RFC 8914); given if there is room.
    pub extended_error: Option<u16>,
}

impl<'b> Writer<'b> {
    /// Starts a response to `request` of at most `limit` octets in `buffer`, which is emptied.
    pub fn new(buffer: &'b mut Vec<u8>, request: &Request<'_>, limit: usize) -> Self {
        buffer.clear();
        buffer.extend_from_slice(request.start);
        let opt = if request.edns.is_some() { OPT_OCTETS } else { 0 };
        Self {
            buffer,
            limit: limit.min(usize::from(u16::MAX)).saturating_sub(opt),
            options: ReplyOptions::default(),
            extended_error: None,
            counts: [0; 3],
            targets: [(0, 0); COMPRESSION_TARGETS],
            target_count: 0,
            question_end: request.start.len(),
            question_known: false,
            case_bound: false,
            largest_set: 1,
            written: 0,
            ttl_places: [0; TTL_PLACES_MAX],
            authoritative: false,
            truncated: false,
            recursion_available: false,
            authentic: false,
            rcode: 0,
        }
    }

    /// Takes up options for an asker with EDNS. To be called before anything is written.
    pub fn set_options(&mut self, options: ReplyOptions<'b>) {
        self.limit = self.limit.saturating_sub(options.octets());
        self.options = options;
    }

    /// The name of the question.
    fn question(&self) -> &[u8] {
        self.buffer.get(HEADER_OCTETS..self.question_end.saturating_sub(4)).unwrap_or_default()
    }

    /// Writes a zone's SOA into the authority section. `None`: the question does not end in the zone's name as the
    /// zone writes it, so the record must be written in full. False: it does not fit.
    pub fn soa(&mut self, template: &SoaTemplate) -> Option<bool> {
        let question = self.question();
        if !question.ends_with(&template.apex) {
            return None;
        }
        let apex_at = HEADER_OCTETS + question.len() - template.apex.len();
        let at = self.buffer.len();
        if at + template.octets.len() > self.limit {
            return Some(false);
        }
        self.buffer.extend_from_slice(&template.octets);
        for pointer in &template.pointers {
            let pointer = at + usize::from(*pointer);
            if let Some(place) = self.buffer.get_mut(pointer..pointer + 2) {
                place.copy_from_slice(&(0xc000 | apex_at as u16).to_be_bytes());
            }
        }
        self.case_bound = true;
        if let Some(place) = self.ttl_places.get_mut(self.written) {
            *place = (at + TTL_AT) as u16;
        }
        self.written += 1;
        Some(self.add_count(Section::Authority, 1))
    }

    /// Forgets all records and all that was set but options and whether recursion is available.
    pub fn restart(&mut self, request: &Request<'_>) {
        let end = request.start.len();
        self.buffer.truncate(end);
        self.counts = [0; 3];
        self.target_count =
            self.targets.iter().take(self.target_count).take_while(|(_, at)| usize::from(*at) < end).count();
        (self.authoritative, self.truncated, self.rcode, self.extended_error) = (false, false, 0, None);
        self.authentic = false;
        (self.case_bound, self.largest_set, self.written) = (false, 1, 0);
    }

    /// Whether a name in the data ends in octets of the question, which so must not come in other letters.
    pub fn is_case_bound(&self) -> bool {
        self.case_bound
    }

    /// Records of the largest set so far, at least 1.
    pub fn largest_set(&self) -> u16 {
        self.largest_set
    }

    /// Where the TTLs of all records stand; `None`: they are too many to be told.
    pub fn ttl_places(&self) -> Option<&[u16]> {
        self.ttl_places.get(..self.written)
    }

    /// Whether the answer section is empty.
    pub fn is_without_answer(&self) -> bool {
        self.counts[Section::Answer as usize] == 0
    }

    /// Writes all records of a set, the record with index `first` (modulo their number) first. False: they do not
    /// fit, and none is written.
    pub fn rrset(&mut self, section: Section, owner: &[u8], rrset: &RrSet, ttl: u32, first: u32) -> bool {
        let (length, targets) = (self.buffer.len(), self.target_count);
        let first = (first % u32::from(rrset.count())) as usize;
        let written = self.written;
        for rdata in rrset.iter().skip(first).chain(rrset.iter().take(first)) {
            if !self.record(owner, Case::Any, rrset.rtype, ttl, rdata) {
                self.written = written;
                self.buffer.truncate(length);
                self.target_count = targets;
                return false;
            }
        }
        self.largest_set = self.largest_set.max(rrset.count());
        self.add_count(section, rrset.count())
    }

    /// Writes one record that is in no set (a synthesised CNAME). False: it does not fit and is not written.
    pub fn synthesised(
        &mut self,
        section: Section,
        owner: &[u8],
        rtype: Rtype,
        ttl: u32,
        rdata: &[u8],
    ) -> bool {
        self.alone(section, owner, Case::Any, rtype, ttl, rdata)
    }

    /// Writes one record of a transfer as an answer, its owner in the case it is stored in (RFC 5936 section 3.4).
    /// False: it does not fit and is not written.
    pub fn transferred(&mut self, owner: &[u8], rtype: Rtype, ttl: u32, rdata: &[u8]) -> bool {
        self.alone(Section::Answer, owner, Case::Kept, rtype, ttl, rdata)
    }

    fn alone(
        &mut self,
        section: Section,
        owner: &[u8],
        case: Case,
        rtype: Rtype,
        ttl: u32,
        rdata: &[u8],
    ) -> bool {
        let (length, targets) = (self.buffer.len(), self.target_count);
        let written = self.written;
        if self.record(owner, case, rtype, ttl, rdata) {
            return self.add_count(section, 1);
        }
        self.written = written;
        self.buffer.truncate(length);
        self.target_count = targets;
        false
    }

    /// True when no record is written yet.
    pub fn is_empty(&self) -> bool {
        self.counts == [0; 3]
    }

    fn add_count(&mut self, section: Section, records: u16) -> bool {
        let count = &mut self.counts[section as usize];
        *count = count.saturating_add(records);
        true
    }

    fn record(&mut self, owner: &[u8], case: Case, rtype: Rtype, ttl: u32, rdata: &[u8]) -> bool {
        if owner == self.question() {
            self.buffer.extend_from_slice(&(0xc000 | HEADER_OCTETS as u16).to_be_bytes());
        } else {
            self.name(owner, case);
        }
        self.buffer.extend_from_slice(&rtype.0.to_be_bytes());
        self.buffer.extend_from_slice(&CLASS_IN.to_be_bytes());
        if let Some(place) = self.ttl_places.get_mut(self.written) {
            *place = self.buffer.len() as u16;
        }
        self.written += 1;
        self.buffer.extend_from_slice(&ttl.to_be_bytes());
        let length_at = self.buffer.len();
        self.buffer.extend_from_slice(&[0, 0]);
        self.rdata(rtype, rdata);
        let length = self.buffer.len() - length_at - 2;
        if let Some(place) = self.buffer.get_mut(length_at..length_at + 2) {
            place.copy_from_slice(&(length as u16).to_be_bytes());
        }
        self.buffer.len() <= self.limit
    }

    /// Only names in the types of RFC 1035 may be compressed (RFC 3597 section 4).
    fn rdata(&mut self, rtype: Rtype, rdata: &[u8]) {
        match rtype {
            Rtype::NS | Rtype::CNAME | Rtype::PTR => self.name(rdata, Case::Kept),
            Rtype::MX => {
                let (preference, exchange) = rdata.split_at(rdata.len().min(2));
                self.buffer.extend_from_slice(preference);
                self.name(exchange, Case::Kept);
            }
            Rtype::SOA => {
                let names = rdata.len().saturating_sub(20);
                let (names, numbers) = rdata.split_at(names);
                let mname = wire_name_octets(names);
                let (mname, rname) = names.split_at(mname);
                self.name(mname, Case::Kept);
                self.name(rname, Case::Kept);
                self.buffer.extend_from_slice(numbers);
            }
            _ => self.buffer.extend_from_slice(rdata),
        }
    }

    fn name(&mut self, wire: &[u8], case: Case) {
        if !self.question_known {
            self.question_known = true;
            self.know_question();
        }
        // Room for all labels a name may have takes longer to clear than the rest of this.
        match Suffixes::<LABELS_FEW>::of(wire) {
            Some(few) => self.name_by(wire, &few, case),
            None => {
                Suffixes::<LABELS_MAX>::of(wire).iter().for_each(|many| self.name_by(wire, many, case));
            }
        }
    }

    fn name_by<const N: usize>(&mut self, wire: &[u8], suffixes: &Suffixes<N>, case: Case) {
        for (start, hash) in suffixes.starts.iter().zip(&suffixes.hashes).take(suffixes.labels) {
            let suffix = wire.get(usize::from(*start)..).unwrap_or_default();
            if let Some(target) = self.find(*hash, suffix, case) {
                self.case_bound |= case == Case::Kept && usize::from(target) < self.question_end;
                self.buffer.extend_from_slice(&(0xc000 | target).to_be_bytes());
                return;
            }
            let at = self.buffer.len();
            self.remember(*hash, at);
            let label = suffix.first().map_or(0, |length| usize::from(*length) + 1);
            self.buffer.extend_from_slice(suffix.get(..label).unwrap_or_default());
        }
        self.buffer.push(0);
    }

    /// The question's name may be pointed to. Most answers do so by its beginning alone, and need not know its labels.
    fn know_question(&mut self) {
        match Suffixes::<LABELS_FEW>::of(self.question()) {
            Some(few) => self.remember_question(&few),
            None => {
                let many = Suffixes::<LABELS_MAX>::of(self.question());
                many.iter().for_each(|many| self.remember_question(many));
            }
        }
    }

    fn remember_question<const N: usize>(&mut self, suffixes: &Suffixes<N>) {
        for (start, hash) in suffixes.starts.iter().zip(&suffixes.hashes).take(suffixes.labels) {
            self.remember(*hash, HEADER_OCTETS + usize::from(*start));
        }
    }

    fn remember(&mut self, hash: u32, at: usize) {
        if at < 0x4000
            && let Some(place) = self.targets.get_mut(self.target_count)
        {
            *place = (hash, at as u16);
            self.target_count += 1;
        }
    }

    fn find(&self, hash: u32, suffix: &[u8], case: Case) -> Option<u16> {
        let targets = self.targets.get(..self.target_count)?;
        let found = targets
            .iter()
            .find(|(known, at)| *known == hash && self.name_at_is(usize::from(*at), suffix, case));
        found.map(|(_, at)| *at)
    }

    /// True when the name written at `at` equals `suffix`.
    fn name_at_is(&self, mut at: usize, mut suffix: &[u8], case: Case) -> bool {
        loop {
            let Some(&length) = self.buffer.get(at) else { return false };
            if length >= 0xc0 {
                match u16_at(self.buffer, at) {
                    // Our own pointers point backwards only, so this ends.
                    Some(pointer) => at = usize::from(pointer & 0x3fff),
                    None => return false,
                }
                continue;
            }
            let octets = 1 + usize::from(length);
            let (Some(here), Some(there)) = (self.buffer.get(at..at + octets), suffix.get(..octets)) else {
                return false;
            };
            if here != there && (case == Case::Kept || !here.eq_ignore_ascii_case(there)) {
                return false;
            }
            if length == 0 {
                return true;
            }
            at += octets;
            suffix = suffix.get(octets..).unwrap_or_default();
        }
    }

    /// Completes header and OPT. `udp_octets` is the size that this server takes.
    pub fn finish(self, request: &Request<'_>, udp_octets: u16) {
        let mut additional = self.counts[Section::Additional as usize];
        if let Some(edns) = request.edns {
            additional = additional.saturating_add(1);
            self.buffer.push(0);
            self.buffer.extend_from_slice(&Rtype::OPT.0.to_be_bytes());
            self.buffer.extend_from_slice(&udp_octets.to_be_bytes());
            let dnssec_ok = if edns.dnssec_ok { 0x80 } else { 0 };
            let fits = self.buffer.len() - 5 + EXTENDED_ERROR_OCTETS <= self.limit;
            let error = self.extended_error.filter(|_| fits);
            let octets = self.options.octets() + error.map_or(0, |_| EXTENDED_ERROR_OCTETS);
            self.buffer.extend_from_slice(&[(self.rcode >> 4) as u8, 0, dnssec_ok, 0]);
            let whole = self.buffer.len() + 2 + octets;
            let room = (self.limit + OPT_OCTETS + self.options.octets()).saturating_sub(whole);
            let padding = self.options.padding.map_or(0, |padding| padding.octets(whole).min(room));
            self.buffer.extend_from_slice(&((octets + padding) as u16).to_be_bytes());
            self.options.write(error, padding, self.buffer);
        }
        let bit = |set: bool, mask: u16| if set { mask } else { 0 };
        let flags = 0x8000
            | u16::from(request.opcode) << 11
            | bit(self.authoritative, 0x0400)
            | bit(self.truncated, 0x0200)
            | bit(request.recursion_desired, 0x0100)
            | bit(self.recursion_available, 0x0080)
            | bit(self.authentic, 0x0020)
            // It means nothing in what is authoritative (RFC 4035 section 3.1.6).
            | bit(request.checking_disabled && !self.authoritative, 0x0010)
            | (self.rcode & 0xf);
        let [answers, authorities, _] = self.counts;
        let header = [flags, 1, answers, authorities, additional];
        if let Some(place) = self.buffer.get_mut(2..HEADER_OCTETS) {
            for (place, value) in place.chunks_exact_mut(2).zip(header) {
                place.copy_from_slice(&value.to_be_bytes());
            }
        }
    }
}

/// A query under way to another server: header and question, and what is put behind them. `opcode` is
/// [`super::OPCODE_QUERY`] or another one that is served; a notification has AA set (RFC 1996 section 3.7).
pub fn question_only(id: u16, opcode: u8, name: &Name, rtype: Rtype) -> Vec<u8> {
    let mut octets = Vec::with_capacity(HEADER_OCTETS + name.as_wire().len() + 4);
    octets.extend_from_slice(&id.to_be_bytes());
    let flags = u16::from(opcode) << 11 | if opcode == super::OPCODE_NOTIFY { 0x0400 } else { 0 };
    octets.extend_from_slice(&flags.to_be_bytes());
    octets.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
    octets.extend_from_slice(name.as_wire());
    octets.extend_from_slice(&rtype.0.to_be_bytes());
    octets.extend_from_slice(&CLASS_IN.to_be_bytes());
    octets
}

/// A response that is only a header: to what could not be read as a query. `buffer` is emptied.
pub fn header_only(buffer: &mut Vec<u8>, octets: &[u8], rcode: u8) {
    buffer.clear();
    let flags = u16_at(octets, 2).unwrap_or(0);
    buffer.extend_from_slice(octets.get(..2).unwrap_or(&[0, 0]));
    buffer.extend_from_slice(&(0x8000 | flags & 0x7900 | u16::from(rcode)).to_be_bytes());
    buffer.extend_from_slice(&[0; 8]);
}

fn wire_name_octets(wire: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&length) = wire.get(at) {
        at += 1 + usize::from(length);
        if length == 0 {
            break;
        }
    }
    at.min(wire.len())
}

/// Where each label of a name starts, and a hash of the name from there on.
struct Suffixes<const N: usize> {
    starts: [u8; N],
    hashes: [u32; N],
    labels: usize,
}

impl<const N: usize> Suffixes<N> {
    /// `None`: the name has more than `N` labels.
    fn of(wire: &[u8]) -> Option<Self> {
        let mut suffixes = Suffixes { starts: [0; N], hashes: [0; N], labels: 0 };
        let mut at = 0usize;
        while let Some(&length) = wire.get(at)
            && length > 0
        {
            *suffixes.starts.get_mut(suffixes.labels)? = at as u8;
            suffixes.labels += 1;
            at += 1 + usize::from(length);
        }
        // From the right: equal suffixes have equal hashes whatever stands before them.
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        let mut end = at;
        for (start, place) in suffixes.starts.iter().zip(&mut suffixes.hashes).take(suffixes.labels).rev() {
            let start = usize::from(*start);
            hash = label_hash(hash, wire.get(start..end).unwrap_or_default());
            *place = (hash >> 32) as u32;
            end = start;
        }
        Some(suffixes)
    }
}

/// FNV-1a of a label, in which upper and lower case are the same. Taking eight octets at a time is slower: labels are
/// short.
fn label_hash(mut hash: u64, label: &[u8]) -> u64 {
    for octet in label {
        hash = (hash ^ u64::from(octet.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::Message;

    use super::*;
    use crate::wire::RrSetBuilder;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn query(question: &str, edns: bool) -> Vec<u8> {
        let mut octets = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns)];
        octets.extend_from_slice(name(question).as_wire());
        octets.extend_from_slice(&[0, 15, 0, 1]);
        if edns {
            octets.extend_from_slice(b"\x00\x00\x29\x10\x00\x00\x00\x80\x00\x00\x00");
        }
        octets
    }

    fn mx(count: u8) -> RrSet {
        let mut set = RrSetBuilder::new(Rtype::MX, 300);
        for index in 0..count {
            let exchange = name(&format!("mx{index}.Mail.alpha.test"));
            set.push(&[&[0, index], exchange.as_wire()].concat());
        }
        set.build().unwrap()
    }

    #[test]
    fn names_are_compressed_and_read_back_by_hickory() {
        let octets = query("Alpha.test", true);
        let request = Request::parse(&octets).unwrap();
        let mut buffer = Vec::new();
        let mut writer = Writer::new(&mut buffer, &request, 1232);
        writer.authoritative = true;
        let owner = name("alpha.test");
        assert!(writer.rrset(Section::Answer, owner.as_wire(), &mx(3), 300, 1));
        writer.finish(&request, 1232);
        // Header 12, question 16, three records of 12 octets with data of 2 + 4 and Mail.alpha (11) and pointers, OPT 11:
        // "test" is in the question as it is, "alpha" is not.
        assert_eq!(buffer.len(), 12 + 16 + (12 + 2 + 4 + 11 + 2) + 2 * (12 + 2 + 4 + 2) + 11);
        let message = Message::from_vec(&buffer).unwrap();
        assert!(message.metadata.authoritative && message.metadata.recursion_desired);
        assert_eq!(message.queries[0].name.to_ascii(), "Alpha.test.");
        let shown: Vec<String> = message.answers.iter().map(|record| record.data.to_string()).collect();
        assert_eq!(shown, ["1 mx1.Mail.alpha.test.", "2 mx2.Mail.alpha.test.", "0 mx0.Mail.alpha.test."]);
        assert!(message.edns.unwrap().flags().dnssec_ok);
    }

    #[test]
    fn a_set_that_does_not_fit_leaves_no_trace() {
        let octets = query("alpha.test", false);
        let request = Request::parse(&octets).unwrap();
        let mut buffer = Vec::new();
        let mut writer = Writer::new(&mut buffer, &request, 512);
        let owner = name("alpha.test");
        assert!(!writer.rrset(Section::Answer, owner.as_wire(), &mx(200), 300, 0));
        assert!(writer.rrset(Section::Answer, owner.as_wire(), &mx(2), 300, 0));
        writer.finish(&request, 1232);
        assert_eq!(Message::from_vec(&buffer).unwrap().answers.len(), 2);
    }

    #[test]
    fn names_in_soa_are_compressed_and_other_types_are_not() {
        let octets = query("alpha.test", false);
        let request = Request::parse(&octets).unwrap();
        let mut buffer = Vec::new();
        let mut writer = Writer::new(&mut buffer, &request, 512);
        let owner = name("alpha.test");
        let mut soa = RrSetBuilder::new(Rtype::SOA, 60);
        soa.push(&[name("ns.alpha.test").as_wire(), name("h.alpha.test").as_wire(), &[1; 20]].concat());
        assert!(writer.rrset(Section::Authority, owner.as_wire(), &soa.build().unwrap(), 60, 0));
        let mut srv = RrSetBuilder::new(Rtype::SRV, 60);
        srv.push(&[&[0; 6], name("h.alpha.test").as_wire()].concat());
        assert!(writer.rrset(Section::Additional, owner.as_wire(), &srv.build().unwrap(), 60, 0));
        writer.finish(&request, 1232);
        assert_eq!(buffer.len(), 12 + 16 + (12 + 5 + 4 + 20) + (12 + 6 + 14));
        let message = Message::from_vec(&buffer).unwrap();
        assert!(message.authorities[0].data.to_string().starts_with("ns.alpha.test. h.alpha.test. "));
    }
}
