//! A wrong configuration is answered with file, line, column, what is wrong and what is expected.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use postroad_config::{Config, ConfigError};

const NODE: &str = "[node]\nname = \"mx.alpha.test\"\nstate_dir = \"state\"\n";

fn faults(text: &str) -> String {
    Config::parse("postroad.toml", text).unwrap_err().to_string()
}

#[test]
fn a_wrong_value_is_underlined() {
    let text = faults(&format!("{NODE}[mta]\nretry_max = \"30 minutes\"\n"));
    let expected = "postroad.toml:5:13: \"30 minutes\" is no duration; expected a duration as a text with a unit \
                    (ms, s, m, h, d, w), such as \"30m\"\n    5 | retry_max = \"30 minutes\"\n      |             ^^^^^^^^^^^^";
    assert_eq!(text, expected);
}

#[test]
fn the_caret_stands_under_the_fault_also_behind_tabs_and_umlauts() {
    let text = faults("[node]\nname = \"mx.alpha.test\"\n[log]\n\tfilter = \"ä\"\n\tformat = \"xml\"\n");
    assert!(
        text.starts_with(
            "postroad.toml:5:11: unknown variant `xml`; expected one of `auto`, `human`, `json`"
        ),
        "{text}"
    );
    assert!(text.ends_with("    5 | \tformat = \"xml\"\n      | \t         ^^^^^"), "{text}");
}

#[test]
fn an_unknown_key_is_told_with_the_one_that_was_meant() {
    let text = faults(&format!("{NODE}[mta]\nsmpt_listen = \"127.0.0.1:25\"\n"));
    assert!(
        text.starts_with("postroad.toml:5:1: unknown key `smpt_listen`; did you mean `smtp_listen`?"),
        "{text}"
    );
    let text = faults(&format!("{NODE}[mtaa]\n"));
    assert!(text.starts_with("postroad.toml:4:2: unknown key `mtaa`; did you mean `mta`?"), "{text}");
}

#[test]
fn a_half_written_file_is_a_fault_of_its_last_line() {
    for (text, line) in [
        ("[node]\nname = \"mx.alp", "postroad.toml:2:"),
        ("[node]\nname = \"mx.alpha.test\"\n[mta]\nsmtp_port =", "postroad.toml:4:"),
        ("[node]\nname = \"mx.alpha.test\"\n[mta", "postroad.toml:3:"),
    ] {
        let shown = faults(text);
        assert!(shown.contains(line), "{shown}");
    }
}

#[test]
fn an_empty_file_says_what_is_needed_first() {
    assert!(
        faults("")
            .starts_with("postroad.toml:1:1: the section [node] is missing; expected [node] with name =")
    );
    let text = faults("[node]\nstate_dir = \"x\"\n");
    assert!(text.contains("the key `name` is missing"), "{text}");
}

#[test]
fn a_file_that_is_not_there_is_told_with_what_to_do() {
    let error = Config::load(std::path::Path::new("/nowhere/postroad.toml")).unwrap_err();
    assert!(matches!(error, ConfigError::Unreadable { .. }));
    assert!(error.to_string().starts_with("/nowhere/postroad.toml: No such file"), "{error}");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("latin1.toml");
    std::fs::write(&path, b"[node]\nname = \"b\xfccher\"\n").unwrap();
    assert!(
        Config::load(&path)
            .unwrap_err()
            .to_string()
            .ends_with("latin1.toml: the file is not UTF-8; expected TOML, which is")
    );
}

#[test]
fn all_faults_of_the_whole_are_told_at_once() {
    let text = faults(
        r#"
[node]
name = "not a name"
[tls]
cert_file = "nowhere.pem"
[dns]
rotation = "cyclik"
[mta]
relay_networks = ["192.0.2.0/24", "0.0.0.0/0"]
proxy_from = "::/0"
retry_first = "2h"
recipients_max = 5
postmaster = "nobody"
"#,
    );
    for part in [
        "postroad.toml:3:8: \"not a name\"",
        "postroad.toml:5:13: cert_file and key_file belong together",
        "nowhere.pem: No such file or directory",
        "postroad.toml:7:12: unknown variant `cyclik`",
        "postroad.toml:9:35: 0.0.0.0/0 is the whole Internet: an open relay",
        "postroad.toml:10:14: ::/0 is anyone",
        "postroad.toml:11:15: longer than retry_max (30m)",
        "postroad.toml:12:18: 5 is too little; expected 100 or more",
        "postroad.toml:13:14: \"nobody\": no @",
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
}

#[test]
fn listeners_that_clash_are_told_and_free_ports_never_clash() {
    let text = faults(&format!("{NODE}[mra]\nimap_listen = \"127.0.0.1:25\"\n"));
    assert!(
        text.contains("postroad.toml:5:15: 127.0.0.1:25 is taken by mta.smtp_listen (0.0.0.0:25)"),
        "{text}"
    );
    let text = faults(&format!("{NODE}[mta]\nsmtp_listen = [\"127.0.0.1:2525\", \"127.0.0.1:2525\"]\n"));
    assert!(text.contains("127.0.0.1:2525 is taken by mta.smtp_listen"), "{text}");
    let free = "[mta]\nsmtp_listen = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\nsubmission_listen = \"[::]:25\"\n";
    assert!(Config::parse("postroad.toml", &format!("{NODE}{free}")).is_ok());
}

#[test]
fn a_zone_file_must_be_there_and_a_zone_is_given_once() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.zone"), "").unwrap();
    let name = dir.path().join("postroad.toml");
    let zone =
        |origin: &str, file: &str| format!("[[dns.zones]]\norigin = \"{origin}\"\nfile = \"{file}\"\n");
    let good = format!("{NODE}{}{}", zone("alpha.test", "a.zone"), zone(".", "a.zone"));
    let config = Config::parse(&name.display().to_string(), &good).unwrap();
    assert_eq!(config.dns.zones[0].file, Some(dir.path().join("a.zone")));
    assert_eq!(config.node.state_dir, dir.path().join("state"));
    let bad = format!("{NODE}{}{}", zone("alpha.test", "b.zone"), zone("Alpha.test.", "a.zone"));
    let text = Config::parse(&name.display().to_string(), &bad).unwrap_err().to_string();
    assert!(text.contains("postroad.toml:6:8:") && text.contains("b.zone: No such file"), "{text}");
    assert!(text.contains("postroad.toml:8:10: the zone Alpha.test. is given twice"), "{text}");
}

#[test]
fn a_role_that_cannot_be_read_does_not_raise_faults_of_its_defaults() {
    let text = faults(&format!(
        "{NODE}[mra]\nimap_listen = \"127.0.0.1:25\"\n[mta]\nsmtp_listen = \"127.0.0.1:2525\"\nretry_max = 5\n"
    ));
    assert!(!text.contains("is taken by"), "{text}");
}

#[test]
fn a_transport_rule_is_checked_as_a_whole() {
    let rule = |lines: &str| faults(&format!("{NODE}[[mta.transport]]\n{lines}\n"));
    let text = rule("via = \"relay.test\"");
    assert!(
        text.starts_with("postroad.toml:5:7: \"relay.test\" is not understood; expected \"mx\""),
        "{text}"
    );
    let text = rule("recipient = \"a b\"\nvia = \"mx\"");
    assert!(text.starts_with("postroad.toml:5:13: \"a b\" is not understood"), "{text}");
    let text = rule("via = \"smtp://relay.test\"\nusername = \"me\"");
    assert!(text.starts_with("postroad.toml:6:12: without a password; expected password_file"), "{text}");
    let text = rule("via = \"smtp://relay.test\"\nconnections_max = 0");
    assert!(text.starts_with("postroad.toml:6:19: nothing would ever go"), "{text}");
}

#[test]
fn a_policy_that_cannot_be_meant_is_told_where_it_stands() {
    let text = faults(&format!(
        "{NODE}{}",
        r#"[mta]
rewrite = [{ from = "a@old.test", to = "@new.test" }, { from = "@", to = "b@new.test" }]
[mta.policy]
reverse_dns = "maybe"
"#
    ));
    assert!(
        text.contains("postroad.toml:7:15: unknown variant `maybe`; expected one of `off`, `mark`, `refuse`"),
        "{text}"
    );
    let text = faults(&format!(
        "{NODE}{}",
        r#"[mta]
rewrite = [{ from = "a@old.test", to = "@new.test" }, { from = "@", to = "b@new.test" }]
[mta.policy]
greet_delay = "10m"
attachment_extensions = ["exe", ".scr"]
mime_depth_max = 99
[[mta.policy.dnsbl]]
zone = "not a zone"
weight = 0
codes = ["192.0.2.1"]
[mta.policy.greylist]
delay = "3d"
[mta.policy.rate]
messages_per_account = "100/2h"
"#
    ));
    for part in [
        "postroad.toml:5:40: one address becomes one address",
        "postroad.toml:5:64: \"@\"",
        "postroad.toml:7:15: clients would go away; expected at most 1m",
        "postroad.toml:8:33: \".scr\" is no ending",
        "postroad.toml:9:18: parts beyond 31 are not told apart",
        "postroad.toml:11:8: \"not a zone\"",
        "postroad.toml:12:10: a list without weight says nothing",
        "postroad.toml:13:9: 192.0.2.1/32 is no answer of a list",
        "postroad.toml:15:9: nobody could come again in time",
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    let text = faults(&format!("{NODE}[mta.policy.rate]\nmessages_per_account = \"many\"\n"));
    assert!(
        text.contains("postroad.toml:5:24: \"many\" is no rate; expected how much in how long"),
        "{text}"
    );
}

#[test]
fn other_name_servers_are_named_by_address_and_with_keys_that_there_are() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("k.secret"), "").unwrap();
    let name = dir.path().join("postroad.toml").display().to_string();
    let key = "[[dns.keys]]\nname = \"k.test\"\nsecret_file = \"k.secret\"\n";
    let zone = "[[dns.zones]]\norigin = \"alpha.test\"\n";
    let parse = |rest: &str| Config::parse(&name, &format!("{NODE}{key}{zone}{rest}"));
    let good = parse(
        "file = \"none.yet\"\nprimaries = [\"192.0.2.1 key:K.test.\"]\ntransfer_to = [\"192.0.2.0/24 key:k.test\"]\n",
    )
    .unwrap();
    assert_eq!(good.dns.keys[0].secret_file, dir.path().join("k.secret"));
    assert_eq!(good.dns.zones[0].primaries[0].to_string(), "192.0.2.1:53 key:K.test.");
    assert_eq!(Config::parse(&name, &good.to_toml().unwrap()).unwrap(), good);
    for (rest, expected) in [
        ("", "7:1: the zone alpha.test comes from nowhere; expected file, or primaries"),
        (
            "primaries = [\"ns.example.org\"]\n",
            "9:13: \"ns.example.org\" is not understood; expected an IP address",
        ),
        ("primaries = [\"192.0.2.1\"]\nnotify = [\"192.0.2.2 key:x\"]\n", "10:10: there is no key \"x\""),
        (
            "primaries = [\"192.0.2.1\"]\nupdate_from = [\"key:k.test\"]\n",
            "10:15: the zone is had from others",
        ),
        ("file = \"k.secret\"\nupdate_from = [\"192.0.2.1\"]\n", "10:16: 192.0.2.1/32 could be anyone"),
        ("file = \"k.secret\"\ntransfer_to = [\"anyone\"]\n", "10:15: \"anyone\" is not understood"),
    ] {
        let text = parse(rest).unwrap_err().to_string();
        assert!(text.contains(&format!("postroad.toml:{expected}")), "{expected} is not in:\n{text}");
    }
    let twice =
        Config::parse(&name, &format!("{NODE}{key}{}", key.replace("k.test", "K.test."))).unwrap_err();
    assert!(twice.to_string().contains("the key K.test. is given twice"), "{twice}");
}

#[test]
fn policies_of_signing_are_there_and_their_times_fit() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("zone"), "").unwrap();
    let name = dir.path().join("postroad.toml").display().to_string();
    let zone = |sign: &str| {
        format!("{NODE}[[dns.zones]]\norigin = \"a.test\"\nfile = \"zone\"\nsign = \"{sign}\"\n")
    };
    let parse = |sign: &str, rest: &str| Config::parse(&name, &format!("{}{rest}", zone(sign)));
    let signing = |config: &Config| config.dns.signing_of(&config.dns.zones[0]).unwrap();
    assert_eq!(signing(&parse("default", "").unwrap()), postroad_config::Signing::default());
    let short =
        parse("x", "[dns.signing.x]\nvalidity = \"3h\"\nrefresh = \"1h\"\njitter = \"1h\"\n").unwrap();
    assert_eq!(signing(&short).validity.as_secs(), 10_800);
    // The default is there also beside others.
    assert!(parse("default", "[dns.signing.x]\n").is_ok());
    for (sign, rest, expected) in [
        ("x", "", "7:8: there is no policy \"x\"; expected \"default\", or [dns.signing.x]"),
        (
            "x",
            "[dns.signing.x]\nvalidity = \"6d\"\n",
            "9:12: signatures must count for longer than refresh and jitter together; expected more than 6d",
        ),
        ("x", "[dns.signing.x]\nalgorithm = \"rsa-sha1\"\n", "9:13: unknown variant `rsa-sha1`"),
        (
            "x",
            "[dns.signing.x]\nparents = [\"192.0.2.1 key:k\"]\n",
            "9:11: a parent is asked as everybody asks it",
        ),
        ("x", "[dns.signing.x]\nvalidity = \"5000w\"\n", "9:12: no signature counts for so long"),
        ("x", "[dns.signing.x]\ndnskey_ttl = \"5000w\"\n", "9:14: no TTL is so long"),
        (
            "x",
            "[dns.signing.x]\nalgoritm = \"ed25519\"\n",
            "9:1: unknown key `algoritm`; did you mean `algorithm`?",
        ),
    ] {
        let text = parse(sign, rest).unwrap_err().to_string();
        assert!(text.contains(&format!("postroad.toml:{expected}")), "{expected} is not in:\n{text}");
    }
}
