//! Questions that make others work: delegations that fan out over a stranger's zone, answers that are held back, names
//! that nobody asks for twice. Counted is what reaches the victim.

use tokio::sync::watch;

use super::*;

/// Questions that reached the servers of beta.test, the victim.
fn to_victim(scene: &Scene) -> usize {
    scene.asked().iter().filter(|ask| ask.starts_with("192.0.2.4 ") || ask.starts_with("192.0.2.5 ")).count()
}

/// alpha.test refers every name to 60 name servers whose names `server` makes up, without addresses.
fn fan(scene: &Scene, server: impl Fn(&Ask, usize) -> String + Send + Sync + 'static) {
    let fan = move |ask: &Ask| {
        let names: Vec<String> = (0..60).map(|index| server(ask, index)).collect();
        let cut = ask.name.to_string();
        let servers: Vec<(&str, RecordType, &str)> =
            names.iter().map(|name| (cut.as_str(), RecordType::NS, name.as_str())).collect();
        let mut message = lie(ask, &[], &servers);
        message.metadata.authoritative = false;
        message
    };
    scene.host([192, 0, 2, 3], Host::Lies(Box::new(fan)));
}

/// A name below the victim that nobody has asked for, with `labels` labels below it.
fn made_up(labels: usize) -> String {
    let parts: Vec<String> = (0..labels).map(|_| format!("x{:x}", rand::random::<u32>())).collect();
    format!("{}.beta.test.", parts.join("."))
}

/// What one question may cost a zone that strangers' delegations point to: its bound, and one question asked again in
/// another way.
const VICTIM_MAX: usize = postroad_types::limits::DNS_LOOKUP_ASKS_PER_ZONE_MAX + 1;

#[tokio::test]
async fn a_delegation_that_fans_out_costs_a_stranger_little() {
    type Making = fn() -> Host;
    let denies: Making = || Host::Serves(zones(&[("beta.test.", BETA)]));
    let has_all: Making = || Host::Serves(zones(&[("beta.test.", &format!("{BETA}* TXT \"any\"\n"))]));
    let silent: Making = || Host::Dead;
    let hosts = [("it denies them", denies), ("it has all", has_all), ("it is silent", silent)];
    for (what, host) in hosts {
        for labels in [1, 2, 12] {
            for ipv6 in [false, true] {
                let scene = scene_with(Zones::default(), |rules| rules.ipv6 = ipv6);
                scene.host([192, 0, 2, 4], host());
                scene.host([192, 0, 2, 5], host());
                fan(&scene, move |_, _| made_up(labels));
                assert_eq!(scene.ask("x.alpha.test", Rtype::A).await, "SERVFAIL");
                let asked = to_victim(&scene);
                assert!((1..=VICTIM_MAX).contains(&asked), "{what} {labels} {ipv6}: {asked}");
            }
        }
    }
}

#[tokio::test]
async fn delegations_that_fan_out_below_each_other_cost_no_more() {
    // Each server's address is to be found below another delegation like it; the last ones lead to the victim.
    let scene = scene_with(Zones::default(), |rules| rules.ipv6 = true);
    fan(&scene, |ask, index| match ask.name.label_count() {
        0..6 if index < 40 => format!("d{:x}.{}", rand::random::<u32>(), ask.name),
        0..6 => format!("d{:x}.n{index}.alpha.test.", rand::random::<u32>()),
        _ => made_up(3),
    });
    assert_eq!(scene.ask("x.alpha.test", Rtype::A).await, "SERVFAIL");
    let asked = scene.asked();
    assert!(asked.len() <= postroad_types::limits::DNS_ASKS_PER_QUESTION_MAX, "{}", asked.len());
    // And with aliases that lead from one such delegation to the next.
    let scene = self::scene();
    let zone = |ask: &Ask| ask.name.to_string().contains("cut");
    scene.host(
        [192, 0, 2, 3],
        Host::Lies(Box::new(move |ask| {
            let name = ask.name.to_string();
            if !zone(ask) {
                let target = format!("x.cut{:x}.alpha.test.", rand::random::<u32>());
                return lie(ask, &[(&name, RecordType::CNAME, &target)], &[]);
            }
            let servers: Vec<String> = (0..60).map(|_| made_up(4)).collect();
            let servers: Vec<_> =
                servers.iter().map(|to| (name.as_str(), RecordType::NS, to.as_str())).collect();
            let mut message = lie(ask, &[], &servers);
            message.metadata.authoritative = false;
            message
        })),
    );
    assert_eq!(scene.ask("start.alpha.test", Rtype::A).await, "SERVFAIL");
    let asked = to_victim(&scene);
    assert!((1..=VICTIM_MAX).contains(&asked), "{asked}");
}

#[tokio::test]
async fn name_servers_with_deep_names_are_found() {
    let deep = "ns.a.b.c.d.e.f.g.h";
    let test = TEST.replace("glueless NS ns.far.other.", &format!("glueless NS {deep}.other."));
    for wanted in ["host.glueless.test", "host.a.b.c.d.e.f.glueless.test"] {
        let scene = scene_with(Zones::default(), |rules| rules.ipv6 = true);
        scene.host([192, 0, 2, 2], Host::Serves(zones(&[("test.", &test)])));
        let other = format!("@ NS ns\nns A 192.0.2.7\n{deep} A 192.0.2.3\n");
        scene.host([192, 0, 2, 7], Host::Serves(zones(&[("other.", &other)])));
        let glueless = format!("{GLUELESS}host.a.b.c.d.e.f A 192.0.2.90\n");
        scene.host([192, 0, 2, 3], Host::Serves(zones(&[("glueless.test.", &glueless)])));
        let answer = scene.ask(wanted, Rtype::A).await;
        assert!(answer.ends_with("192.0.2.90"), "{answer}");
        let asked = scene.asked();
        let shown = |name: &str| asked.iter().any(|ask| *ask == format!("192.0.2.7 {name}.other. A"));
        assert!(shown("h") && shown(deep), "in parts at first: {asked:?}");
    }
}

/// A server of alpha.test that holds its answers until it is told to send them all.
fn holding(scene: &Scene) -> watch::Sender<bool> {
    let (gate, opened) = watch::channel(false);
    scene.host([192, 0, 2, 3], Host::Holds(opened, zones(&[("alpha.test.", ALPHA)])));
    gate
}

#[tokio::test]
async fn answers_that_are_held_back_come_for_few_questions() {
    // DNSBomb: who asks on and on while a server waits gets as many answers at once as there are places, and no more.
    let scene = scene();
    assert!(scene.ask("alpha.test", Rtype::NS).await.starts_with("NOERROR"));
    scene.asked();
    let gate = holding(&scene);
    let names: Vec<String> = (0..200).map(|index| format!("n{index}.alpha.test")).collect();
    let all = futures_util::future::join_all(names.iter().map(|name| scene.ask(name, Rtype::A)));
    let open = async {
        while scene.internet.asked.lock().unwrap().len() < 8 {
            tokio::task::yield_now().await;
        }
        gate.send_replace(true);
    };
    let (answers, ()) = tokio::join!(all, open);
    assert_eq!(scene.asked().len(), 8, "as many as may be worked on");
    let at_once = answers.iter().filter(|answer| *answer == "NXDOMAIN").count();
    assert_eq!((at_once, answers.iter().filter(|answer| *answer == "SERVFAIL").count()), (8, 192));
    assert_eq!(scene.resolver.permits.available_permits(), 8);
    assert!(scene.resolver.flights().is_empty(), "nothing of it stays");
}

#[tokio::test]
async fn equal_questions_of_many_clients_wait_for_one_held_answer() {
    let scene = scene();
    assert!(scene.ask("alpha.test", Rtype::NS).await.starts_with("NOERROR"));
    scene.asked();
    let gate = holding(&scene);
    let all = futures_util::future::join_all((0..200).map(|_| scene.ask("mx.alpha.test", Rtype::A)));
    let open = async {
        while scene.internet.asked.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(scene.resolver.flights().len(), 1);
        assert_eq!(scene.resolver.permits.available_permits(), 7, "one place for all of them");
        gate.send_replace(true);
    };
    let (answers, ()) = tokio::join!(all, open);
    assert!(answers.iter().all(|answer| answer.ends_with("192.0.2.25")));
    assert_eq!(scene.asked(), ["192.0.2.3 mx.alpha.test. A"]);
}

#[tokio::test]
async fn names_that_nobody_asks_for_twice_push_out_none_that_are_in_use() {
    let scene = scene();
    let wild = format!("{ALPHA}*.wild A 192.0.2.77\n");
    scene.host([192, 0, 2, 3], Host::Serves(zones(&[("alpha.test.", &wild)])));
    let kept = ["mx.alpha.test", "web.beta.test", "www.alpha.test"];
    for name in kept {
        assert!(scene.ask(name, Rtype::A).await.starts_with("NOERROR"));
    }
    let bound = 1 << 20;
    for index in 0..12_000 {
        let name = format!("n{index}.{}alpha.test", if index % 2 == 0 { "" } else { "wild." });
        scene.ask(&name, Rtype::A).await;
        if index % 16 == 0 {
            for name in kept {
                assert!(scene.resolver.cached(&name.parse().unwrap(), Rtype::A).is_some(), "{name} {index}");
            }
            let octets = scene.resolver.cache.octets();
            assert!(octets <= bound, "{octets}");
        }
    }
    assert!(scene.resolver.cache.octets() > bound / 2, "it was full");
}
