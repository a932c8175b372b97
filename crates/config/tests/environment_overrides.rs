//! `POSTROAD_SECTION__KEY=value` overrides the file; its faults name the variable.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use postroad_config::{Config, ConfigError, Rotation};

const FILE: &str = "[node]\nname = \"mx.alpha.test\"\n[mta]\nsmtp_port = 25\nretry_max = \"30m\"\n";

fn with(env: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    Config::parse_with("/etc/postroad/postroad.toml", FILE, env)
}

#[test]
fn a_variable_wins_over_the_file_and_needs_no_quotes() {
    let config = with(&[
        ("POSTROAD_MTA__SMTP_PORT", "2525"),
        ("POSTROAD_MTA__SMTP_LISTEN", "127.0.0.1:2500"),
        ("POSTROAD_MTA__RETRY_MAX", "2h"),
        ("POSTROAD_DNS__ROTATION", "fixed"),
        ("POSTROAD_DNS__RECURSION__ALLOW", r#"["10.0.0.0/8"]"#),
        ("POSTROAD_RPC__PEERS__MDA", "https://mda:7603"),
        ("POSTROAD_NODE__STATE_DIR", "/state"),
    ])
    .unwrap();
    assert_eq!(config.mta.smtp_port, 2525);
    assert_eq!(config.mta.smtp_listen, ["127.0.0.1:2500".parse().unwrap()]);
    assert_eq!(config.mta.retry_max.as_secs(), 7200);
    assert_eq!(config.dns.rotation, Rotation::Fixed);
    assert_eq!(config.dns.recursion.allow, ["10.0.0.0/8".parse().unwrap()]);
    assert_eq!(config.peers(postroad_types::Role::Mda), ["mda:7603".parse().unwrap()]);
    assert_eq!(config.node.state_dir, std::path::Path::new("/state"));
}

#[test]
fn other_variables_are_none_of_the_configurations() {
    let config = with(&[("POSTROAD_CONFIG", "/x"), ("PATH", "/bin"), ("MTA__SMTP_PORT", "1")]).unwrap();
    assert_eq!(config.mta.smtp_port, 25);
}

#[test]
fn a_wrong_variable_is_named() {
    let text = with(&[("POSTROAD_MTA__RETRY_MAX", "soon"), ("POSTROAD_MDA__QUOTTA", "1GiB")])
        .unwrap_err()
        .to_string();
    assert!(text.contains("environment variable POSTROAD_MTA__RETRY_MAX: \"soon\" is no duration"), "{text}");
    assert!(
        text.contains(
            "environment variable POSTROAD_MDA__QUOTTA: unknown key `quotta`; did you mean `quota`?"
        ),
        "{text}"
    );
    assert!(text.contains("      | soon\n      | ^^^^"), "{text}");
    let text =
        with(&[("POSTROAD_DNS__RECURSION__ALLOW", r#"["10.0.0.0/8", "ten"]"#)]).unwrap_err().to_string();
    assert!(text.contains("      |                ^^^^^"), "{text}");
    let text = with(&[("POSTROAD_MTA__SMTP_PORT__X", "1")]).unwrap_err().to_string();
    assert!(text.contains("POSTROAD_MTA__SMTP_PORT__X: `smtp_port` is no section"), "{text}");
}
