"""The private tree: what its zones hold, who serves them, and the questions about them.

    tree.py zones DIR SEED          writes unsigned zone files and a list "zone how-it-is-signed server" (DIR/zones)
    tree.py questions COUNT SEED    prints "name type" lines: present, absent, every type, deep and oddly written

The same seed gives the same tree and the same questions. Good zones are served by NSD and BIND; those below gamma. and
the servers that misbehave by liar.py, each at an address of its own.
"""

import random
import sys

ROOT = "10.53.0.1"
TLDS = "10.53.1.1"
# Second-level zones, at BIND.
GOOD = ["10.53.2.1", "10.53.2.2"]
LIARS = "10.53.3."

# zone: (how it is signed, its parent's way to it). NSEC3 with the values of RFC 9276; "optout" signs no insecure cuts.
SIGNED = {
    ".": "nsec 13",
    "alpha.": "nsec 13",
    "beta.": "optout 13",
    "gamma.": "plain",
    "nsec.alpha.": "nsec 13",
    "nsec3.alpha.": "nsec3 13",
    "rsa.alpha.": "nsec 8",
    "plain.alpha.": "plain",
    "bogus.alpha.": "nsec 13 wrong-ds",
    "expired.alpha.": "nsec 13 expired",
    "altered.alpha.": "nsec3 13 altered",
    "future.alpha.": "nsec 13 unknown-algorithm",
    "digest.alpha.": "nsec 13 unknown-digest",
    "early.alpha.": "nsec 13 early",
    "stripped.alpha.": "nsec3 13 stripped",
    "spare.alpha.": "nsec 13 spare-ds",
    "iterated.alpha.": "nsec3 13 iterated",
    "gaps.alpha.": "optout 13",
    "open.gaps.alpha.": "plain",
    "closed.gaps.alpha.": "nsec 13",
    "optout.beta.": "plain",
    "signed.beta.": "nsec3 13",
    "ed.beta.": "nsec 15",
    "p384.beta.": "nsec3 14",
    "sub.nsec.alpha.": "nsec3 13",
    "island.plain.alpha.": "nsec 13 no-ds",
    "sub.island.plain.alpha.": "nsec3 13",
    "below.bogus.alpha.": "nsec 13",
    "insecure.nsec3.alpha.": "plain",
    "deep.down.in.the.tree.nsec.alpha.": "plain",
    "good.gamma.": "plain",
}

# Zones of liar.py: name, and the addresses (last octet) of its name servers with what each does.
LIES = {
    "onedead": [(10, "dead"), (11, "good")],
    "dead": [(12, "dead")],
    "lame": [(13, "refused"), (14, "good")],
    "upward": [(15, "upward"), (16, "good")],
    "servfail": [(17, "servfail"), (18, "good")],
    "slow": [(19, "slow")],
    "liar": [(20, "liar")],
    "big": [(21, "truncate")],
    "nons": [(22, "no-ns")],
    "entnx": [(23, "ent-nxdomain")],
    "entrefused": [(24, "ent-refused")],
    "noedns": [(25, "formerr-edns")],
    "notimp": [(26, "notimp-edns")],
    "badvers": [(27, "badvers-edns")],
    "bareformerr": [(28, "bare-formerr-edns")],
    "fold": [(29, "fold")],
    "upper": [(30, "upper")],
    "order": [(31, "reversed")],
    "dnameonly": [(32, "no-synthesis")],
    "nosoa": [(33, "no-soa")],
    "chaos": [(34, "chaos-class")],
    "noaa": [(35, "no-aa")],
    "selfref": [(36, "self-referral")],
    "optecho": [(37, "options")],
    "glue0": [(38, "good")],
    "oddid": [(39, "wrong-id-first")],
    "oddname": [(40, "wrong-question-first")],
}

# Zones of liar.py that are delegated without glue: the name of their server, and its address.
GLUELESS = {"glueless": ("ns1.web.nsec.alpha.", 11), "glueless2": ("ns1.glueless.gamma.", 11)}

TYPES = ["A", "AAAA", "MX", "TXT", "NS", "SOA", "CNAME", "DNAME", "SRV", "CAA", "TLSA", "PTR", "HTTPS", "DS", "DNSKEY", "NSEC",
         "NSEC3PARAM", "TYPE65280"]


def apex(zone, servers):
    names = [f"ns{index}" for index in range(1, len(servers) + 1)]
    lines = [f"@ SOA ns1 hostmaster 1 3600 600 86400 60"]
    lines += [f"@ NS {name}" for name in names]
    lines += [f"{name} A {address}" for name, address in zip(names, servers)]
    return lines


def content(zone, chance):
    """What every second-level zone holds."""
    others = ["nsec.alpha.", "nsec3.alpha.", "plain.alpha.", "signed.beta.", "optout.beta.", "good.gamma."]
    lines = [
        "@ MX 10 mx1", "@ MX 20 mx2.good.gamma.", '@ TXT "v=spf1 mx -all"', '@ CAA 0 issue "ca.example"',
        "mx1 A 192.0.2.1", "mx1 AAAA 2001:db8::1", "mx2 A 192.0.2.2", "www CNAME web", "web A 192.0.2.80",
        'web TXT "one" "two; three"', "chain1 CNAME chain2", "chain2 CNAME chain3", "chain3 CNAME web",
        "dangling CNAME nothing-there", "loop1 CNAME loop2", "loop2 CNAME loop1",
        "*.wild A 192.0.2.66", '*.wild TXT "wild"', "here.wild A 192.0.2.67", "below.here.wild A 192.0.2.68",
        "*.alias CNAME web", "*.abroad CNAME web.good.gamma.", "a.b.c.ent A 192.0.2.70", "x.y.ent TXT \"ent\"",
        f"renamed DNAME {chance.choice(others)}", "within DNAME target", "host.target A 192.0.2.90",
        "*.target AAAA 2001:db8::90", "_imaps._tcp SRV 0 1 993 mx1", "_25._tcp.mx1 TLSA 3 1 1 " + "ab" * 32,
        "odd\\.dot A 192.0.2.71", "MixedCase A 192.0.2.72", "unknown TYPE65280 \\# 3 010203",
        "svc HTTPS 1 . alpn=h2", "many TXT " + '"' + "x" * 200 + '"', "1 PTR web", "_dmarc TXT \"v=DMARC1; p=none\"",
        f"out CNAME web.{chance.choice(others)}", f"out2 CNAME out.{chance.choice(others)}",
        f"outgone CNAME gone.{chance.choice(others)}", "outdead CNAME web.onedead.gamma.",
        "intorename CNAME web.renamed", "outbogus CNAME web.bogus.alpha.", "outsigned CNAME web.signed.beta.",
        "outcut CNAME closed.gaps.alpha.", "*.mail MX 10 mx1", "*.deep.wild A 192.0.2.69",
    ]
    for index in range(40):
        lines.append(f"h{index} A 198.51.100.{index}")
        if chance.random() < 0.5:
            lines.append(f"h{index} AAAA 2001:db8:1::{index:x}")
        if chance.random() < 0.2:
            lines.append(f"h{index} MX 5 h{chance.randrange(40)}")
    for index in range(24):
        lines.append(f"set A 203.0.113.{index}")
    return lines


def parent_of(zone):
    labels = zone.rstrip(".").split(".")
    for cut in range(1, len(labels) + 1):
        parent = ".".join(labels[cut:]) + "."
        if parent in SIGNED:
            return parent
    return "."


def servers_of(zone):
    if zone == ".":
        return [ROOT]
    return [TLDS] if zone.count(".") == 1 else GOOD


def delegation(parent, zone, servers):
    """NS records and glue, names in full."""
    lines = [f"{zone} NS ns{index}.{zone}" for index in range(1, len(servers) + 1)]
    return lines + [f"ns{index}.{zone} A {address}" for index, address in enumerate(servers, 1)]


def write_zones(directory, seed):
    chance = random.Random(seed)
    files = {}
    for zone in SIGNED:
        files[zone] = apex(zone, servers_of(zone))
        if zone.count(".") > 1:
            files[zone] += content(zone, chance)
    for zone in SIGNED:
        if zone != ".":
            files[parent_of(zone)] += delegation(parent_of(zone), zone, servers_of(zone))
    gamma = files["gamma."]
    for name, servers in LIES.items():
        zone = f"{name}.gamma."
        gamma += delegation("gamma.", zone, [LIARS + str(last) for last, _ in servers])
    gamma += ["ns1.glue0 A 0.0.0.0", "ns1.glue0 A 255.255.255.255"]
    gamma += [f"{name} NS {server}" for name, (server, _) in GLUELESS.items()]
    # Two that only know each other.
    gamma += ["round1 NS ns.round2", "round2 NS ns.round1"]
    files["nsec.alpha."].append(f"ns1.web A {LIARS}11")
    files["plain.alpha."] += [f"fan NS ns{index}.nowhere{index}.good.gamma." for index in range(30)]
    with open(f"{directory}/zones", "w") as listing:
        for zone, lines in files.items():
            file = zone.rstrip(".") or "root"
            with open(f"{directory}/{file}", "w") as out:
                out.write(f"$ORIGIN {zone}\n$TTL 600\n" + "\n".join(lines) + "\n")
            listing.write(f"{zone} {file} {servers_of(zone)[0]} {parent_of(zone)} {SIGNED[zone]}\n")


PRESENT = [
    "", "mx1", "mx2", "www", "web", "chain1", "chain2", "dangling", "loop1", "anything.wild", "a.b.wild", "here.wild",
    "not.here.wild", "below.here.wild", "wild", "some.alias", "some.abroad", "ent", "c.ent", "b.c.ent", "a.b.c.ent",
    "y.ent", "web.renamed", "h1.renamed", "gone.renamed", "renamed", "host.within", "other.within", "within",
    "_imaps._tcp", "_tcp", "_25._tcp.mx1", "odd\\.dot", "MIXEDcase", "unknown", "svc", "many", "1", "_dmarc", "out",
    "out2", "outgone", "outdead", "intorename", "set", "ns1", "ns2", "*.wild", "very.deep.name.that.is.not.there",
    "x." * 40 + "gone", "x." * 40 + "wild",
    # Below what has no names below it, and at each depth of what is not there.
    "x.web", "a.b.web", "x.www", "a.b.chain1", "x.h1", "x.a.b.c.ent", "x.b.c.ent", "x.ent", "x.y.ent", "a.b.c.d.gone", "b.c.d.gone",
    "c.d.gone", "d.gone", "gone", "a.b.renamed", "a.b.c.ent.renamed", "any.wild.renamed", "www.renamed", "x.mx1", "a.host.within",
    "any.target", "x.host.target", "any.mail", "a.b.mail", "mail", "x.deep.wild", "deep.wild", "a.x.deep.wild", "outbogus", "outsigned",
    "outcut", "*", "*.alias", "x.*.wild", "_dane._tcp.mx1", "x._25._tcp.mx1", "sub", "x.sub", "down", "tree", "in.the.tree",
]
# Where one zone ends and another begins: names at, beside and below the cut.
CUTS = [zone for zone in SIGNED if zone != "."] + ["nowhere.alpha.", "nowhere.beta.", "a.b.nowhere.beta.", "nowhere.gaps.alpha.",
        "x.nowhere.gaps.alpha.", "x.y.open.gaps.alpha.", "ns1.open.gaps.alpha.", "ns1.nsec.alpha.", "ns1.optout.beta."]


# An alias has its NSEC beside it (RFC 4035 section 2.5): whether it is followed when that is asked for (RFC 1034 section 4.3.2 says
# so, BIND does not) depends on who is asked and what is known, in BIND and Unbound too. So nobody is asked.
ALIASES = ("www", "chain", "loop", "dangling", "out", "intorename")
ALIASES_ABOVE = ("alias", "abroad", "renamed", "within")


def is_alias(name):
    labels = name.lower().split(".")
    return labels[0].startswith(ALIASES) or any(label in ALIASES_ABOVE for label in labels[1:])


def questions(count, seed):
    chance = random.Random(seed)
    zones = [zone for zone in SIGNED if zone.count(".") > 1]
    liars = [f"{name}.gamma." for name in LIES if name != "dead"] + [f"{name}.gamma." for name in GLUELESS]
    asked = set()

    def put(name, rtype):
        name = name.lstrip(".") or "."
        if len(name) < 250 and (name, rtype) not in asked and not (rtype == "NSEC" and is_alias(name)):
            asked.add((name, rtype))
            print(name, rtype)

    for zone in [".", "alpha.", "beta.", "gamma.", "nothing.", "x.nothing."]:
        for rtype in TYPES:
            put(zone, rtype)
    for zone in zones + liars:
        for label in PRESENT:
            put(f"{label}.{zone}", "A")
        for rtype in TYPES:
            put(zone, rtype)
    for cut in CUTS:
        for rtype in ["DS", "NS", "SOA", "DNSKEY", "NSEC", "A", "MX", "CNAME"]:
            put(cut, rtype)
    for zone in zones[:6] + ["bogus.alpha."]:
        for label in ["", "web", "www", "gone", "any.wild", "b.c.ent"]:
            put(f"{label}.{zone}", "ANY")
    for zone in ["fan.plain.alpha.", "round1.gamma.", "round2.gamma.", "dead.gamma."]:
        put(f"web.{zone}", "A")
    while len(asked) < count:
        zone = chance.choice(zones if chance.random() < 0.7 else liars)
        kind = chance.random()
        if kind < 0.35:
            label = chance.choice(PRESENT)
        elif kind < 0.7:
            label = f"h{chance.randrange(60)}"
        else:
            label = ".".join("".join(chance.choices("abcdefgh-0123", k=chance.randint(1, 9))).strip("-") or "a"
                             for _ in range(chance.randint(1, 4)))
        if chance.random() < 0.1:
            label = "".join(chance.choice([letter.upper(), letter]) for letter in label)
        put(f"{label}.{zone}", chance.choice(TYPES))


if __name__ == "__main__":
    if sys.argv[1] == "zones":
        write_zones(sys.argv[2], int(sys.argv[3]))
    else:
        questions(int(sys.argv[2]), int(sys.argv[3]))
