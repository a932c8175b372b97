"""Name servers that misbehave, one on every address of tree.py's LIES: liar.py serves them all until it is ended.

Each has its zone's records and answers by the book, but for what its kind says; "good" does nothing else.
"""

import asyncio
import random
import shlex
import socket
import struct
import sys

import tree

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "DNAME": 39}
IN, CHAOS = 1, 3
FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 1, 2, 3, 4, 5


def labels(name):
    return tuple(name.rstrip(".").split(".")) if name.rstrip(".") else ()


def wire(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name) + b"\0"


def lower(name):
    return tuple(label.lower() for label in name)


def rdata(rtype, words, origin):
    host = lambda text: wire(labels(text) if text.endswith(".") else labels(text) + origin)
    if rtype == "A":
        return socket.inet_pton(socket.AF_INET, words[0])
    if rtype == "AAAA":
        return socket.inet_pton(socket.AF_INET6, words[0])
    if rtype in ("NS", "CNAME", "DNAME", "PTR"):
        return host(words[0])
    if rtype == "MX":
        return struct.pack("!H", int(words[0])) + host(words[1])
    if rtype == "SRV":
        return struct.pack("!HHH", *map(int, words[:3])) + host(words[3])
    if rtype == "TXT":
        return b"".join(bytes([len(word)]) + word.encode() for word in words)
    return host(words[0]) + host(words[1]) + struct.pack("!IIIII", *map(int, words[2:]))


class Zone:
    def __init__(self, name, addresses):
        self.apex = labels(name)
        self.nodes = {}
        for line in tree.apex(name, addresses) + tree.content(name, random.Random(name)):
            owner, rtype, *words = shlex.split(line)
            if rtype in TYPES and "\\" not in owner:
                owner = lower(self.apex if owner == "@" else labels(owner) + self.apex)
                self.nodes.setdefault(owner, {}).setdefault(TYPES[rtype], []).append(rdata(rtype, words, self.apex))
        self.existing = {owner[cut:] for owner in self.nodes for cut in range(len(owner) - len(self.apex) + 1)}

    def holds(self, name):
        return name[len(name) - len(self.apex):] == self.apex

    def find(self, name):
        """The node, or the wildcard in its place; the node with a DNAME above; None: there is no such name."""
        for cut in range(len(name) - len(self.apex), 0, -1):
            if name != name[cut:] and TYPES["DNAME"] in self.nodes.get(name[cut:], {}):
                return name[cut:], self.nodes[name[cut:]]
        if name in self.existing:
            return name, self.nodes.get(name, {})
        encloser = next(name[cut:] for cut in range(len(name)) if name[cut:] in self.existing)
        return name, self.nodes.get(("*",) + encloser)


def unwire(octets):
    name, at = [], 0
    while octets[at]:
        name.append(octets[at + 1:at + 1 + octets[at]].decode("latin-1"))
        at += 1 + octets[at]
    return tuple(name)


def resolve(zone, name, rtype, synthesise=True):
    """(rcode, answers, authority); records are (owner, type, data)."""
    answers = []
    soa = [(zone.apex, TYPES["SOA"], zone.nodes[zone.apex][TYPES["SOA"]][0])]
    for _ in range(12):
        plain = lower(name)
        owner, node = zone.find(plain)
        if node is None:
            return NXDOMAIN, answers, soa
        if owner != plain:
            target = unwire(node[TYPES["DNAME"]][0])
            answers.append((owner, TYPES["DNAME"], node[TYPES["DNAME"]][0]))
            target = name[:len(name) - len(owner)] + target
            if not synthesise:
                return 0, answers, []
            answers.append((name, TYPES["CNAME"], wire(target)))
        elif rtype in node:
            return 0, answers + [(name, rtype, data) for data in node[rtype]], []
        elif TYPES["CNAME"] in node:
            answers.append((name, TYPES["CNAME"], node[TYPES["CNAME"]][0]))
            target = unwire(node[TYPES["CNAME"]][0])
        else:
            return 0, answers, soa
        if rtype == TYPES["CNAME"] or not zone.holds(lower(target)):
            return 0, answers, []
        if any(lower(owner) == lower(target) for owner, _, _ in answers):
            return 0, answers, []
        name = target
    return 0, answers, []


def record(owner, rtype, data, rclass=IN):
    return wire(owner) + struct.pack("!HHIH", rtype, rclass, 600, len(data)) + data


def lies(zone):
    """Records that are no business of this zone."""
    bad = socket.inet_pton(socket.AF_INET, "192.0.2.250")
    answers = [(labels("web.good.gamma."), 1, bad), (labels("web.nsec.alpha."), 1, bad)]
    authority = [(labels("gamma."), 2, wire(labels("ns1.liar.gamma."))), (labels("good.gamma."), 2, wire(labels("ns1.liar.gamma."))),
                 (labels("good.gamma."), 15, b"\0\1" + wire(labels("ns1.liar.gamma.")))]
    additional = [(labels("ns1.good.gamma."), 1, bad), (labels("ns1."), 1, bad), (labels("mx1.plain.alpha."), 1, bad)]
    return answers, authority, additional


def respond(zones, kind, query, tcp):
    """The messages that answer a query, in the order they are sent."""
    if kind == "dead" or len(query) < 17 or query[2] & 0x80:
        return []
    name = unwire(query[12:])
    end = 12 + len(wire(name)) + 4
    rtype, = struct.unpack("!H", query[end - 4:end - 2])
    edns = query[11] == 1 and len(query) > end
    question, plain = query[12:end], lower(name)

    def message(rcode, answers=(), authority=(), additional=(), aa=True, tc=False, question=question, rclass=IN, opt=b"", id=query[:2]):
        opt = b"\0" + struct.pack("!HHIH", 41, 1232, 0, len(opt)) + opt if edns and kind not in OLD else b""
        flags = 0x8000 | aa << 10 | tc << 9 | (query[2] & 1) << 8 | rcode
        sections = [[record(*entry, rclass=rclass) for entry in section] for section in (answers, authority, additional)]
        counts = [1 if question else 0] + [len(section) for section in sections]
        counts[3] += 1 if opt else 0
        return id + struct.pack("!HHHHH", flags, *counts) + question + b"".join(sum(sections, [])) + opt

    if edns and kind in OLD:
        if kind == "badvers-edns":
            opt = b"\0" + struct.pack("!HHIH", 41, 1232, 0x01000000, 0)
            return [query[:2] + struct.pack("!HHHHH", 0x8400, 1, 0, 0, 1) + question + opt]
        if kind == "bare-formerr-edns":
            return [query[:2] + struct.pack("!HHHHH", 0x8001, 0, 0, 0, 0)]
        return [message({"formerr-edns": FORMERR, "notimp-edns": NOTIMP}[kind])]
    if kind in ("refused", "servfail"):
        return [message(SERVFAIL if kind == "servfail" else REFUSED, aa=False)]
    zone = next((zone for zone in zones if zone.holds(plain)), None)
    if zone is None:
        return [message(REFUSED, aa=False)]
    if kind == "no-ns" and rtype == TYPES["NS"]:
        return [message(REFUSED, aa=False)]
    rcode, answers, authority = resolve(zone, name, rtype, kind != "no-synthesis")
    additional = []
    is_ent = plain in zone.existing and plain not in zone.nodes
    if kind == "upward":
        return [message(0, authority=[((), 2, wire(labels("ns1.")))], additional=[(labels("ns1."), 1, socket.inet_pton(socket.AF_INET, tree.ROOT))], aa=False)]
    if kind == "self-referral":
        if rtype == TYPES["MX"]:
            return [message(0, authority=[(zone.apex, 2, wire(("ns1",) + zone.apex))], aa=False)]
    if kind == "ent-nxdomain" and is_ent:
        rcode = NXDOMAIN
    if kind == "ent-refused" and is_ent:
        return [message(REFUSED, aa=False)]
    if kind == "liar":
        more = lies(zone)
        answers, authority, additional = answers + more[0], authority + more[1], more[2]
    if kind == "reversed":
        answers = answers[::-1]
    if kind == "no-soa":
        authority = []
    if kind == "truncate" and not tcp:
        return [message(rcode, tc=True)]
    if kind == "fold":
        return [message(rcode, answers, authority, question=wire(plain) + question[-4:])]
    if kind == "upper":
        upper = tuple(label.upper() for label in name)
        return [message(rcode, [(tuple(l.upper() for l in owner), *rest) for owner, *rest in answers], authority, question=wire(upper) + question[-4:])]
    opt = b"\0\x03\0\2ab\0\x03\0\2cd" + b"\0\x0c\0\0" * 20 + b"\xff\xff\0\1x" if kind == "options" else b""
    right = message(rcode, answers, authority, additional, aa=kind != "no-aa", rclass=CHAOS if kind == "chaos-class" else IN, opt=opt)
    bad = [(name, 1, socket.inet_pton(socket.AF_INET, "192.0.2.250"))]
    if kind == "wrong-id-first" and not tcp:
        return [message(0, bad, id=bytes([query[0] ^ change, query[1]])) for change in (1, 2, 3)] + [right]
    if kind == "wrong-question-first" and not tcp:
        return [message(0, bad, question=wire(("x",) + name) + question[-4:])] + [right]
    return [right]


OLD = ("formerr-edns", "notimp-edns", "badvers-edns", "bare-formerr-edns")


class Udp(asyncio.DatagramProtocol):
    def __init__(self, zones, kind):
        self.zones, self.kind = zones, kind

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, query, client):
        delay = 0.35 if self.kind == "slow" else 0
        for message in respond(self.zones, self.kind, query, False):
            if len(message) > 1232:
                # Too long for a datagram: the header and the question, with TC.
                end = 12 + len(wire(unwire(query[12:]))) + 4
                message = message[:2] + bytes([message[2] | 2]) + message[3:4] + b"\0\1\0\0\0\0\0\0" + query[12:end]
            asyncio.get_running_loop().call_later(delay, self.transport.sendto, message, client)


async def serve_tcp(zones, kind, reader, writer):
    try:
        while True:
            length, = struct.unpack("!H", await reader.readexactly(2))
            for message in respond(zones, kind, await reader.readexactly(length), True):
                writer.write(struct.pack("!H", len(message)) + message)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main():
    hosts = {}
    for name, servers in tree.LIES.items():
        zone = Zone(f"{name}.gamma.", [tree.LIARS + str(last) for last, _ in servers])
        for last, kind in servers:
            hosts[last] = (kind, [zone])
    for name, (_, last) in tree.GLUELESS.items():
        hosts[last][1].append(Zone(f"{name}.gamma.", [tree.LIARS + str(last)]))
    for last, (kind, zones) in hosts.items():
        address = tree.LIARS + str(last), 53
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: Udp(zones, kind), address)
        await asyncio.start_server(lambda reader, writer, z=zones, k=kind: serve_tcp(z, k, reader, writer), *address)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
