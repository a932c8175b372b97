//! The example file is the reference that operators read: it must parse, name every key, and show true defaults.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use postroad_config::{Config, EXAMPLE};

/// The example with the `#` of every option taken away.
fn uncommented() -> String {
    let option = |line: &str| {
        let rest = line.strip_prefix('#')?;
        rest.starts_with(|c: char| c.is_ascii_lowercase()).then(|| rest.to_owned())
    };
    EXAMPLE.lines().map(|line| option(line).unwrap_or_else(|| line.to_owned()) + "\n").collect()
}

/// Without the options that name files, whose default is none.
fn without_files(text: &str) -> String {
    let file = |line: &&str| ["_file =", "root_hints =", "query_log ="].iter().any(|key| line.contains(key));
    text.lines().filter(|line| !file(line)).map(|line| format!("{line}\n")).collect()
}

#[test]
fn it_parses_as_it_is_and_means_the_defaults() {
    let config = Config::parse("/etc/postroad/postroad.toml", EXAMPLE).unwrap();
    assert_eq!(config, Config::new("mx1.example.org", "/var/lib/postroad"));
}

#[test]
fn the_defaults_it_shows_are_the_defaults() {
    let shown = Config::parse("/etc/postroad/postroad.toml", &without_files(&uncommented())).unwrap();
    let mut expected = Config::new("mx1.example.org", "/var/lib/postroad");
    // These show in the example what their absence means.
    expected.trace.dir = Some(expected.trace_dir());
    expected.dns.key_dir = Some(expected.key_dir());
    expected.mta.spool_dir = Some(expected.spool_dir());
    expected.mda.mailbox_dir = Some(expected.mailbox_dir());
    expected.rpc.peers = shown.rpc.peers.clone();
    assert_eq!(shown, expected);
    for role in postroad_types::Role::SERVICES {
        let defaults = Config::new("mx1.example.org", "/var/lib/postroad");
        assert_eq!(shown.peers(role), defaults.peers(role), "{role}");
    }
}

#[test]
fn every_key_of_every_section_is_in_it() {
    let sections = [
        ("node", ""),
        ("log", ""),
        ("trace", ""),
        ("tls", ""),
        ("rpc", ""),
        ("rpc", "peers"),
        ("dns", ""),
        ("dns", "recursion"),
        ("dns", "signing.default"),
        ("mta", ""),
        ("mta", "policy"),
        ("mta", "policy.rate"),
        ("mta", "policy.greylist"),
        ("mta", "policy.rspamd"),
        ("mda", ""),
        ("mra", ""),
    ];
    let example: toml::Table = uncommented().parse().unwrap();
    for (section, part) in sections {
        let header = if part.is_empty() { section.to_owned() } else { format!("{section}.{part}") };
        // An unknown key's error names all that are known.
        let text = format!("[node]\nname = \"a.test\"\n[{header}]\nno_such_key_at_all = 1\n");
        let text =
            if section == "node" { text.replacen("[node]\n", "", 1).replacen("name", "#", 1) } else { text };
        let error = Config::parse("postroad.toml", &text).unwrap_err();
        let message = &error.problems().first().unwrap().message;
        let known: BTreeSet<&str> = message.split('`').skip(1).step_by(2).skip(1).collect();
        let table = example[section].as_table().unwrap();
        let parts = part.split('.').filter(|part| !part.is_empty());
        let table = parts.fold(table, |table, part| table[part].as_table().unwrap());
        let shown: BTreeSet<&str> = table.keys().map(String::as_str).collect();
        assert_eq!(shown, known, "[{header}]");
    }
}

#[test]
fn a_configuration_can_be_written_out_and_read_back() {
    let mut config = Config::new("mx.alpha.test", "/var/lib/postroad");
    config.mta.resolver = vec!["dns:53".parse().unwrap()];
    config.rpc.peers.mda = vec!["https://mda:7603".parse().unwrap()];
    config.mta.relay_networks = vec!["192.0.2.0/24".parse().unwrap()];
    let text = config.to_toml().unwrap();
    assert_eq!(Config::parse("/etc/postroad/postroad.toml", &text).unwrap(), config, "{text}");
}
