//! What can be wrong with forward, stub and local zones and block lists is said with its line, and with what is expected.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use postroad_config::{Config, ForwardMode};

const NODE: &str = "[node]\nname = \"mx.alpha.test\"\nstate_dir = \"state\"\n";

fn faults(text: &str) -> String {
    Config::parse("postroad.toml", &format!("{NODE}{text}")).unwrap_err().to_string()
}

#[test]
fn every_fault_is_said_where_it_is() {
    let servers = "an IP address such as \"192.0.2.53\" or \"[2001:db8::53]:5353\", or for TLS \"tls://192.0.2.53#dns.example\"";
    let route = |lines: &str| format!("[[dns.recursion.forward]]\n{lines}\n");
    let local = |lines: &str| format!("[[dns.recursion.local]]\n{lines}\n");
    let cases = [
        (
            route("zone = \"a..b\"\nservers = \"192.0.2.1\""),
            "5:8: \"a..b\": ",
            "expected a domain, or \".\" for all names",
        ),
        (
            route("zone = \"a.test\"\nservers = []"),
            "6:11: nobody is named who could be asked for a.test",
            "expected servers",
        ),
        (
            route("zone = \"a.test\"\nservers = [\"192.0.2.1\", \"dns.example\"]"),
            "6:11: \"dns.example\" is not understood",
            servers,
        ),
        (
            route("zone = \"a.test\"\nservers = \"tls://dns.example\""),
            "6:11: \"tls://dns.example\" is not understood",
            servers,
        ),
        (route("zone = \"a.test\"\nservers = \"tls://192.0.2.1#not a name\""), "6:11: ", servers),
        (route("zone = \"a.test\"\nservers = \"https://192.0.2.1/dns-query\""), "6:11: ", servers),
        (
            route("zone = \"a.test\"\nservers = [\"192.0.2.1 key:k\"]"),
            "6:12: questions are not signed",
            "expected addresses without key:",
        ),
        (
            route(
                "zone = \"a.test\"\nservers = [\"tls://192.0.2.1#a.test\", \"192.0.2.1:853\", \"tls://192.0.2.1#b.test\"]",
            ),
            "6:55: tls://192.0.2.1:853#a.test is named already",
            "expected each server once",
        ),
        (
            route("zone = \"a.test\"\nservers = \"192.0.2.1\"\nmode = \"last\""),
            "7:8: unknown variant `last`",
            "expected `first` or `only`",
        ),
        (
            route("zone = \"a.test\"\nserver = \"192.0.2.1\""),
            "6:1: unknown key `server`",
            "did you mean `servers`?",
        ),
        (route("zone = \"a.test\""), "4:1: the key `servers` is missing", "it has no default"),
        (
            "[[dns.recursion.stub]]\nzone = \"a.test\"\nservers = [\"0.0.0.0\"]\n".to_owned(),
            "6:11: \"0.0.0.0\" is not understood",
            servers,
        ),
        (
            route("zone = \"a.test\"\nservers = \"192.0.2.1\"")
                + &local("zone = \"A.test.\"\nkind = \"refuse\""),
            "8:8: A.test. is forwarded, a stub or local already",
            "expected each zone once",
        ),
        (
            local("zone = \"a.test\"\nkind = \"refused\""),
            "6:8: unknown variant `refused`",
            "expected one of `static`, `redirect`, `refuse`",
        ),
        (
            local("zone = \"a.test\"\nkind = \"refuse\"\nrecords = [\"@ A 192.0.2.1\"]"),
            "7:11: a zone that is refused has no records",
            "expected none, or kind = \"static\"",
        ),
        (
            "[[dns.recursion.block]]\nfile = \"/nowhere/list\"\n".to_owned(),
            "5:8: /nowhere/list: ",
            "expected a file that can be read",
        ),
        (
            "[[dns.recursion.block]]\nfile = \"/dev/null\"\nanswer = \"zero\"\n".to_owned(),
            "6:10: unknown variant `zero`",
            "expected `nxdomain` or `null`",
        ),
    ];
    for (text, place, expected) in cases {
        let shown = faults(&text);
        assert!(shown.starts_with(&format!("postroad.toml:{place}")), "{text}\n{shown}");
        assert!(shown.contains(expected), "{text}\n{shown}");
    }
}

#[test]
fn what_was_to_be_hidden_is_not_asked_in_the_open_unless_that_is_said() {
    let mode = |lines: &str| {
        let text = format!("{NODE}[[dns.recursion.forward]]\nzone = \".\"\n{lines}\n");
        Config::parse("postroad.toml", &text).unwrap().dns.recursion.forward[0].mode()
    };
    assert_eq!(mode("servers = \"192.0.2.1\""), ForwardMode::First);
    assert_eq!(mode("servers = [\"192.0.2.1\", \"tls://192.0.2.2#a.test\"]"), ForwardMode::Only);
    assert_eq!(mode("servers = \"tls://192.0.2.2#a.test\"\nmode = \"first\""), ForwardMode::First);
}
