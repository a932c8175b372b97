//! Every bound of the protocols in one place, with the RFC that asks for it.
//! What an operator may set (message size, recipients, connections …) has its default in the configuration.

/// RFC 5321 §4.5.3.1.1 asks for 64; longer ones exist (VERP, SRS), so room is left as other servers do.
pub const LOCAL_PART_OCTETS_MAX: usize = 256;
/// RFC 5321 §4.5.3.1.2, RFC 1035 §2.3.4.
pub const DOMAIN_OCTETS_MAX: usize = 253;

/// SMTP command line with CRLF: RFC 5321 §4.5.3.1.4 asks for 512 and more with extensions.
pub const SMTP_COMMAND_OCTETS_MAX: usize = 4096;
/// An AUTH exchange's line: RFC 4954 §4.
pub const SMTP_AUTH_LINE_OCTETS_MAX: usize = 12_288;
/// Reply line that our client reads: RFC 5321 §4.5.3.1.5 asks for 512.
pub const SMTP_REPLY_LINE_OCTETS_MAX: usize = 2048;
/// Lines of one reply that our client reads before it gives up.
pub const SMTP_REPLY_LINES_MAX: usize = 128;
/// Text line of a message with CRLF that is carried as it is; RFC 5321 §4.5.3.1.6 asks for 1000, long
/// lines are common and must not be changed: only the message's size bounds them.
pub const SMTP_TEXT_LINE_SENT_MAX: usize = 998;
/// Replies to wrong commands before the session ends with 421.
pub const SMTP_ERRORS_MAX: u32 = 20;
/// Received headers before a message counts as looping: RFC 5321 §6.3 asks for at least 100.
pub const RECEIVED_HEADERS_MAX: usize = 100;
/// Octets of an SMTP client that wait in memory while a question to policy or directory is open.
pub const SMTP_INPUT_OCTETS_MAX: usize = 64 * 1024;
/// Failed AUTH attempts before the session ends with 421.
pub const SMTP_AUTH_FAILURES_MAX: u32 = 3;
/// Commands between two messages that carry no mail (NOOP, RSET, VRFY, HELP, EHLO …) before 421.
pub const SMTP_IDLE_COMMANDS_MAX: u32 = 100;
/// HELO and EHLO argument that is no domain and no literal, but printable.
pub const SMTP_HELLO_OCTETS_MAX: usize = 255;
/// A body must gain this much within the data block timeout; one octet now and then is no progress.
pub const SMTP_DATA_PROGRESS_OCTETS: u64 = 1024;
/// Octets of an already refused body that are read on, so that the client can hear why (RFC 5321 §4.5.3.1.9).
pub const SMTP_DRAIN_OCTETS_MAX: u64 = 256 * 1024 * 1024;
/// Commands that our client sends ahead of their replies (RFC 2920 §3.1: neither side may fill the other's window).
pub const SMTP_PIPELINE_MAX: usize = 100;
/// Lines of a dialogue with another server that are kept for the timeline; a failure is told by the last ones.
pub const SMTP_DIALOGUE_LINES_MAX: usize = 40;
/// Hosts that answered, over all hosts of a destination, before the rest of an attempt is put off.
pub const RELAY_SESSIONS_MAX: usize = 5;
/// One attempt at one destination, in seconds, all its hosts together; shorter than a lease.
pub const RELAY_SECONDS_MAX: u64 = 2 * 3600;
/// Messages over one connection to another server; many servers end it themselves after a hundred or so.
pub const RELAY_MESSAGES_PER_CONNECTION_MAX: u32 = 100;
/// Age of a connection to another server, in seconds, beyond which it takes no further message.
pub const RELAY_CONNECTION_SECONDS_MAX: u64 = 300;
/// Connections that wait for another message, to all servers together.
pub const RELAY_IDLE_CONNECTIONS_MAX: usize = 500;
/// Servers whose TLS has failed that are kept in mind, and for how many seconds.
pub const RELAY_TLS_FAILURES_MAX: usize = 10_000;
pub const RELAY_TLS_FAILURE_SECONDS: u64 = 3600;

/// The PROXY protocol's header: its specification's bound for version 1; for version 2 what follows the first 16
/// octets, with room for a certificate's name in a TLV.
pub const PROXY_V1_OCTETS_MAX: usize = 107;
pub const PROXY_V2_OCTETS_MAX: usize = 4096;
/// ENVID and ORCPT, as text (RFC 3461 §4.2 and §4.4).
pub const DSN_ENVELOPE_ID_OCTETS_MAX: usize = 100;
pub const DSN_ORIGINAL_RECIPIENT_OCTETS_MAX: usize = 500;
/// How long an account may let a message wait before its first attempt (RFC 4865).
pub const HOLD_SECONDS_MAX: u32 = 30 * 86_400;
/// BY has so many seconds at most (RFC 2852 §4: nine digits).
pub const DELIVER_BY_SECONDS_MAX: i32 = 999_999_999;

/// Bounces that one sender hears about one recipient in so many seconds.
pub const BOUNCES_REPEATED_MAX: u32 = 5;
pub const BOUNCES_REPEATED_SECONDS: u64 = 3600;
/// Pairs of sender and recipient of which that is known.
pub const BOUNCES_REMEMBERED_MAX: usize = 100_000;

/// IMAP command line without its literals.
pub const IMAP_LINE_OCTETS_MAX: usize = 65_536;
/// An IMAP literal outside APPEND.
pub const IMAP_LITERAL_OCTETS_MAX: usize = 65_536;
/// Nesting of parentheses in IMAP search keys and lists.
pub const IMAP_NESTING_MAX: usize = 32;
/// An IMAP command with all its literals (APPEND's message is not counted: it is streamed).
pub const IMAP_COMMAND_OCTETS_MAX: usize = 262_144;
/// Octets of refused input (an over-long line, a non-synchronising literal that is too big) that are
/// read and thrown away so that the session can go on; beyond, the session ends with BYE.
pub const IMAP_DISCARDED_OCTETS_MAX: u64 = 128 * 1024 * 1024;
/// Wrong commands in a row before the session ends with BYE.
pub const IMAP_ERRORS_MAX: u32 = 20;
/// A message up to this size is held in memory while its parts are fetched; of larger ones the structure
/// alone is, and the parts are streamed.
pub const IMAP_FETCH_HELD_OCTETS_MAX: u64 = 1024 * 1024;
/// Structures of large messages that a session remembers.
pub const IMAP_STRUCTURES_MAX: usize = 8;
/// A client that idles hears something at least so often, in seconds: less than routers in between remember a
/// silent connection.
pub const IMAP_IDLE_ALIVE_SECONDS: u64 = 240;
/// Items of one FETCH.
pub const IMAP_FETCH_ITEMS_MAX: usize = 256;
/// Keys of one SEARCH.
pub const IMAP_SEARCH_KEYS_MAX: usize = 1024;
/// Patterns of one LIST.
pub const IMAP_LIST_PATTERNS_MAX: usize = 64;
/// Keywords that one message may have.
pub const IMAP_KEYWORDS_MAX: usize = 128;
/// A keyword's name in octets.
pub const IMAP_KEYWORD_OCTETS_MAX: usize = 64;
/// POP3 command line: RFC 2449 §4 asks for 255; AUTH lines need more.
pub const POP3_LINE_OCTETS_MAX: usize = 12_288;
/// Commands that can't be understood or stand in the wrong place before a POP3 session is ended.
pub const POP3_ERRORS_MAX: u32 = 20;
/// Refused logins before a POP3 session is ended.
pub const POP3_LOGINS_REFUSED_MAX: u32 = 3;
/// Replies of a POP3 session that wait to be written before the next command is looked at.
pub const POP3_REPLIES_OCTETS_MAX: usize = 16 * 1024;

/// Silence of the mailbox service in the middle of an answer, in seconds, before it counts as lost.
pub const MAILBOX_STALL_SECONDS: u64 = 30;
/// A change of many messages (copy, move, expunge, flags) in one call, in seconds.
pub const MAILBOX_CHANGE_SECONDS_MAX: u64 = 60;
/// A search through all texts of a folder, in seconds.
pub const MAILBOX_SEARCH_SECONDS_MAX: u64 = 300;
/// An APPEND over a slow line, in seconds.
pub const MAILBOX_APPEND_SECONDS_MAX: u64 = 3600;
/// The directory's answer to a SASL message, in seconds, its growing delay for guessers included.
pub const LOGIN_ANSWER_SECONDS_MAX: u64 = 90;
/// Time that a mail program may leave octets we wrote unread, in seconds, before its connection is cut.
pub const CLIENT_STALL_SECONDS: u64 = 300;

/// Nesting of MIME parts that is looked into; deeper ones are opaque.
pub const MIME_NESTING_MAX: usize = 32;
/// MIME parts that are told apart in one message.
pub const MIME_PARTS_MAX: usize = 10_000;
/// Octets of one part's header that are looked into for its structure; the rest is carried unread.
pub const MIME_HEADER_OCTETS_MAX: usize = 256 * 1024;
/// A multipart's boundary: RFC 2046 §5.1.1 allows 70, longer ones exist.
pub const MIME_BOUNDARY_OCTETS_MAX: usize = 200;
/// Parameters of a Content-Type or Content-Disposition that are kept.
pub const MIME_PARAMETERS_MAX: usize = 64;
/// Addresses of one header field that an envelope lists.
pub const ENVELOPE_ADDRESSES_MAX: usize = 10_000;

/// How often an alias may lead to an alias.
pub const ALIAS_DEPTH_MAX: usize = 8;
/// Addresses that one recipient may expand to.
/// Addresses that one account may send as by delegation.
pub const DELEGATIONS_MAX: usize = 100;
pub const ALIAS_TARGETS_MAX: usize = 1000;

/// A mail folder's name in octets of UTF-8.
pub const FOLDER_NAME_OCTETS_MAX: usize = 255;

/// Chunk of a message body in a gRPC stream, in the spool and in memory, in octets.
pub const BODY_CHUNK_OCTETS: usize = 64 * 1024;

/// A label of a domain name: RFC 1035 §2.3.4.
pub const DNS_LABEL_OCTETS_MAX: usize = 63;
/// A domain name in wire form, with length octets and the root's zero: RFC 1035 §2.3.4.
pub const DNS_NAME_OCTETS_MAX: usize = 255;
/// A TTL in seconds: RFC 2181 §8.
pub const DNS_TTL_S_MAX: u32 = 0x7fff_ffff;
/// A UDP response without EDNS in octets: RFC 1035 §2.3.4.
pub const DNS_UDP_OCTETS_PLAIN: usize = 512;
/// A UDP message with EDNS that no path fragments: RFC 9715 §3.
pub const DNS_UDP_OCTETS_MAX: u16 = 1232;
/// The server's name for itself (RFC 5001), in octets.
pub const DNS_NSID_OCTETS_MAX: usize = 128;
/// CNAME and DNAME steps that one answer follows.
pub const DNS_ALIAS_STEPS_MAX: usize = 12;
/// Names whose addresses are added to one answer.
pub const DNS_ADDITIONAL_NAMES_MAX: usize = 16;
/// $INCLUDE within $INCLUDE in a zone file.
pub const DNS_INCLUDE_DEPTH_MAX: usize = 8;
/// Records that all $GENERATE lines of a zone file make.
pub const DNS_GENERATED_RECORDS_MAX: u64 = 1_000_000;
/// A zone file with all that it includes and generates, in octets.
pub const DNS_ZONE_FILE_OCTETS_MAX: u64 = 1 << 30;
/// Records of one record set in a zone; even addresses without a name would not all fit into an answer.
pub const DNS_ZONE_RRSET_RECORDS_MAX: usize = 4000;
/// Errors reported for one zone file; the rest follows from the first ones anyway.
pub const DNS_ZONE_ERRORS_MAX: usize = 20;
/// Requests that wait to be written into the query log; more are counted and left out.
pub const DNS_QUERY_LOG_WAITING_MAX: usize = 16 * 1024;
/// Requests a second that are looked at for those who watch the traffic, and how many of them may wait.
pub const DNS_SAMPLES_PER_SECOND: u32 = 2000;
pub const DNS_SAMPLES_WAITING_MAX: usize = 2048;
/// Names, and clients, that are told apart when the most frequent are looked for.
pub const DNS_TOP_PLACES_MAX: usize = 1000;
/// Records that one commit takes out of a zone or puts into it.
pub const DNS_COMMIT_RECORDS_MAX: usize = 10_000;
/// Octets of a zone text that is loaded over gRPC; longer ones come as files.
pub const DNS_ZONE_TEXT_OCTETS_MAX: usize = 64 * 1024 * 1024;
/// Requests of one connection that are answered at the same time.
pub const DNS_TCP_PIPELINE_MAX: usize = 32;
/// Seconds that a client may take for its TLS or QUIC handshake.
pub const DNS_HANDSHAKE_SECONDS: u64 = 10;
/// QUIC handshakes under way at a time; from a fourth of it on an address must first show that it is not forged
/// (RFC 9000 §8.1.2).
pub const DNS_QUIC_HANDSHAKES_MAX: usize = 256;
/// Octets that one QUIC connection may have under way to us, and we to it: two of the longest messages.
pub const DNS_QUIC_OCTETS_MAX: u32 = 2 * 65_537;
/// Headers of one request for DNS over HTTPS, and so a question in its URI, in octets.
pub const DNS_HTTPS_HEADER_OCTETS_MAX: usize = 16 * 1024;
/// Responses over encrypted transports are padded to multiples of so many octets: RFC 8467 §4.1.
pub const DNS_PADDED_RESPONSE_OCTETS: u16 = 468;
/// Questions over encrypted transports are: RFC 8467 §4.1.
pub const DNS_PADDED_QUERY_OCTETS: u16 = 128;
/// Questions under way on one connection to another resolver.
pub const DNS_UPSTREAM_PIPELINE_MAX: usize = 128;
/// Questions sent to other servers for one question of a client, all sub-questions counted.
pub const DNS_ASKS_PER_QUESTION_MAX: usize = 64;
/// Questions sent to the servers of one zone for one name before it counts as unreachable.
pub const DNS_ASKS_PER_ZONE_MAX: usize = 8;
/// Name servers without an address whose addresses are looked up for one delegation (NXNS).
pub const DNS_GLUELESS_PER_ZONE_MAX: usize = 3;
/// Name servers of one delegation that are looked at.
pub const DNS_SERVERS_PER_ZONE_MAX: usize = 16;
/// Addresses of one name server that are looked at.
pub const DNS_ADDRESSES_PER_SERVER_MAX: usize = 8;
/// How deep look-ups of name servers' addresses may nest.
pub const DNS_LOOKUP_DEPTH_MAX: usize = 6;
/// Questions about parts of a name before the whole name is asked for, and how many of them show one label more each:
/// RFC 9156 §2.3.
pub const DNS_MINIMISE_QUESTIONS_MAX: usize = 10;
pub const DNS_MINIMISE_ONE_LABEL_MAX: usize = 4;
/// Domains of all block lists together, and octets of one of their files.
pub const DNS_BLOCKED_NAMES_MAX: usize = 2_000_000;
pub const DNS_BLOCK_FILE_OCTETS_MAX: u64 = 64 * 1024 * 1024;
/// Referrals followed for one name.
pub const DNS_REFERRALS_MAX: usize = 32;
/// Datagrams that are not the answer, before the question is asked again over TCP (RFC 5452 §9.2).
pub const DNS_STRAY_ANSWERS_MAX: usize = 16;
/// Earlier versions of a zone that are kept for who wants the differences (RFC 1995), and their octets in memory.
pub const DNS_HISTORY_VERSIONS_MAX: usize = 100;
pub const DNS_HISTORY_OCTETS_MAX: usize = 16 * 1024 * 1024;
/// Octets of one message of a transfer: pointers reach no further, so longer ones compress no better.
pub const DNS_TRANSFER_MESSAGE_OCTETS: usize = 16 * 1024;
/// Transfers that go out at a time; more are refused with SERVFAIL.
pub const DNS_TRANSFERS_OUT_MAX: usize = 32;
/// Records of one transfer from another server in memory, in octets, and versions that its differences lead through.
pub const DNS_TRANSFER_IN_OCTETS_MAX: usize = 512 * 1024 * 1024;
pub const DNS_TRANSFER_IN_VERSIONS_MAX: usize = 10_000;
/// A transfer from another server in seconds: to connect, without a message, in all.
pub const DNS_TRANSFER_CONNECT_SECONDS: u64 = 5;
pub const DNS_TRANSFER_STALL_SECONDS: u64 = 30;
pub const DNS_TRANSFER_IN_SECONDS_MAX: u64 = 3600;
/// Transfers from other servers at a time; more wait.
pub const DNS_TRANSFERS_IN_MAX: usize = 10;
/// A server is told so often that a zone has changed, and is waited for so many seconds, doubling each time.
pub const DNS_NOTIFY_TRIES: u32 = 7;
pub const DNS_NOTIFY_FIRST_WAIT_SECONDS: u64 = 1;
/// Seconds between two requests for a zone that notifications lead to.
pub const DNS_NOTIFIED_APART_SECONDS: u64 = 1;
/// Refresh and retry of a zone's SOA are taken within these bounds, in seconds; expire is taken as at least so many.
pub const DNS_REFRESH_SECONDS_MIN: u64 = 5;
pub const DNS_REFRESH_SECONDS_MAX: u64 = 28 * 86_400;
pub const DNS_EXPIRE_SECONDS_MIN: u64 = 60;
/// A zone that has never come is asked for at least so often, in seconds.
pub const DNS_RETRY_MISSING_SECONDS_MAX: u64 = 3600;
/// Updates of zones that wait for each other and for the disk; more are refused with SERVFAIL.
pub const DNS_UPDATES_WAITING_MAX: usize = 16;
/// Messages of a signed response that may come unsigned in a row: RFC 8945 §5.3.1.
pub const DNS_TSIG_UNSIGNED_MAX: usize = 99;
/// Octets of an RSA key's modulus that signatures are checked with: 1024 to 4096 bits.
pub const DNS_RSA_MODULUS_OCTETS: std::ops::RangeInclusive<usize> = 128..=512;
/// Keys with the tag that a signature names, and signatures of one record set, that are tried (KeyTrap, CVE-2023-50387).
pub const DNS_KEYS_PER_TAG_MAX: usize = 4;
pub const DNS_SIGNATURES_PER_SET_MAX: usize = 8;
/// Signatures and digests that are computed for one question of a client, and how many of them may be wrong.
pub const DNS_VERIFICATIONS_PER_QUESTION_MAX: usize = 128;
pub const DNS_VERIFICATIONS_FAILED_MAX: usize = 16;
/// Names that are hashed for one question of a client, each with at most so many iterations beyond the first (NSEC3,
/// CVE-2023-50868); a zone with more iterations counts as not signed: RFC 9276 §3.2.
pub const DNS_NSEC3_HASHES_PER_QUESTION_MAX: usize = 160;
pub const DNS_NSEC3_ITERATIONS_MAX: u16 = 150;
/// Signed record sets of one message that are looked at beside what was asked for.
pub const DNS_PROOF_SETS_MAX: usize = 32;
/// DS and DNSKEY questions that wait for each other: zones between a name and what is known of the chain of trust.
pub const DNS_TRUST_DEPTH_MAX: usize = 16;
/// DS and DNSKEY questions for one reply: names that are looked at for a zone cut.
pub const DNS_TRUST_QUESTIONS_PER_REPLY_MAX: usize = 32;
/// Servers that are asked after the first when what one says is bogus.
pub const DNS_BOGUS_RETRIES_MAX: usize = 2;
/// A zone's signatures begin so many seconds before they are made, for clocks that are behind.
pub const DNS_SIGNATURE_INCEPTION_S: u64 = 3600;
/// Signatures that would be due within so many seconds are made anew together.
pub const DNS_SIGNATURES_TOGETHER_S_MAX: u64 = 3600;
/// What is due for a signed zone is looked at least so often, as clocks may be set, in seconds.
pub const DNS_SIGNING_LOOK_SECONDS_MAX: u64 = 3600;
/// Zones that are signed at a time; each takes all cores.
pub const DNS_SIGNING_AT_ONCE_MAX: usize = 2;
/// A zone that could not be signed is tried again after so many seconds.
pub const DNS_SIGNING_RETRY_SECONDS: u64 = 60;
/// A server of a parent is waited for so many seconds.
pub const DNS_PARENT_SECONDS_MAX: u64 = 10;
/// Records kept of one record set that another server sends.
pub const DNS_RRSET_RECORDS_MAX: usize = 1000;
/// Octets of one entry of a resolver's cache, with its signatures and proofs, that is kept over a restart.
pub const DNS_SAVED_ENTRY_OCTETS_MAX: usize = 256 * 1024;

/// The longest that policy may make a client wait on purpose, or for its look-ups, in seconds.
pub const POLICY_DELAY_SECONDS_MAX: u64 = 60;
/// Keys (addresses, networks, accounts, domains) that one rate limit keeps in mind.
pub const POLICY_RATE_KEYS_MAX: usize = 100_000;
/// DNS answers that policy keeps in mind, and for how many seconds at most: the resolver has the cache that matters.
pub const POLICY_DNS_ENTRIES_MAX: usize = 20_000;
pub const POLICY_DNS_SECONDS_MAX: u64 = 30;
/// Names of one address (PTR records) that are looked up again for confirmation.
pub const POLICY_PTR_NAMES_MAX: usize = 4;
/// Octets of a text from DNS or rspamd that go into a reply.
pub const POLICY_TEXT_OCTETS_MAX: usize = 200;
/// What an unknown sender has tried: rows that greylisting keeps; the oldest go first.
pub const GREYLIST_ENTRIES_MAX: u64 = 1_000_000;
/// A message that a content filter looks at is held in memory up to this size, beyond it in a file.
pub const SCAN_MEMORY_OCTETS_MAX: usize = 256 * 1024;
/// What a content filter answers.
pub const SCAN_ANSWER_OCTETS_MAX: usize = 1024 * 1024;
/// Octets of header fields that a content filter adds to one message.
pub const SCAN_HEADER_OCTETS_MAX: usize = 64 * 1024;
/// Addresses in From and Sender of a submitted message that the directory is asked about.
pub const SUBMISSION_AUTHORS_MAX: usize = 20;

/// MX hosts of one domain that are tried; the ones with the worst preference are left out.
pub const MX_HOSTS_MAX: usize = 32;
/// Addresses that one delivery attempt tries, over all MX hosts together.
pub const MX_ADDRESSES_MAX: usize = 20;
/// A look-up of a domain's MX hosts with all their addresses, in seconds.
pub const ROUTE_SECONDS_MAX: u64 = 60;
/// A route is kept for its TTL, but no longer than this, in seconds: the resolver has the cache that matters.
pub const ROUTE_CACHE_SECONDS_MAX: u64 = 30;
/// Domains whose route is kept in memory.
pub const ROUTE_CACHE_ENTRIES_MAX: usize = 20_000;
/// The directory's word on a recipient or a domain is kept for so long, in seconds.
pub const DIRECTORY_CACHE_SECONDS: u64 = 5;
/// Words of the directory that are kept.
pub const DIRECTORY_CACHE_ENTRIES_MAX: usize = 50_000;
/// Recipients of one transaction with another host: RFC 5321 §4.5.3.1.8 makes every server take 100.
pub const TRANSACTION_RECIPIENTS_MAX: usize = 100;
/// Messages under lease at a time: what the queue runner holds in memory.
pub const QUEUE_ACTIVE_MAX: usize = 20_000;
/// Of these, jobs that wait for one destination; more are put off so that others are not held up.
pub const QUEUE_DESTINATION_WAITING_MAX: usize = 10_000;
/// A lease on a message, in seconds; longer than the slowest transaction.
pub const QUEUE_LEASE_SECONDS: u64 = 4 * 3600;
/// Octets of a message's header that are looked into for Received, Date, Message-ID, From and Bcc.
pub const MESSAGE_HEADER_OCTETS_MAX: usize = 256 * 1024;
/// Octets of the original's header that a bounce carries.
pub const BOUNCE_HEADER_OCTETS_MAX: usize = 64 * 1024;
/// A larger message is not given back whole, though RET=FULL asks for it.
pub const BOUNCE_WHOLE_OCTETS_MAX: usize = 1024 * 1024;
/// Recipients that one bounce names; more go into further bounces.
pub const BOUNCE_RECIPIENTS_MAX: usize = 200;

/// A message up to this size is held in memory while the mda takes it; a larger one in a file.
pub const INTAKE_MEMORY_OCTETS_MAX: u64 = 1024 * 1024;

/// So much of a message's header is searched for signs of a loop.
pub const LOOP_HEADER_OCTETS_MAX: usize = 64 * 1024;
