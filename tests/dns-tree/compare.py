"""Asks several resolvers the same questions and compares what they say.

    compare.py ad|no-ad EXCEPTIONS NAME=ADDRESS… <QUESTIONS      the first is the one that is looked at

Compared are the response code, the answer's record sets without TTL and order, and with "ad" the AD flag. Each line of
EXCEPTIONS is "NAME TYPE WHO OURS THEIRS reason …": patterns as a shell's for the name, and several with "|" between them for the
types; who differs from the first; what the first says, and what the other says: a response code, NODATA for NOERROR without
records of the type, "+AD" behind it where that is set, "+records" where a failure comes with some, "silent", or in place of the other's
"other": the same with other records. A difference that no line covers is printed and makes the run fail. With SHOW=1 in the
environment the others are printed too.
"""

import asyncio
import collections
import fnmatch
import os
import random
import re
import struct
import sys

RCODES = {0: "NOERROR", 2: "SERVFAIL", 3: "NXDOMAIN", 5: "REFUSED", 6: "YXDOMAIN"}
TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "DNAME": 39,
         "HINFO": 13, "DS": 43, "RRSIG": 46, "NSEC": 47, "DNSKEY": 48, "NSEC3PARAM": 51, "TLSA": 52, "HTTPS": 65, "ANY": 255, "CAA": 257}
SHOWN = {number: name for name, number in TYPES.items()}
# Types whose data may hold compressed names: octets before the names, names, and that rest follows.
COMPRESSED = {2: (0, 1), 5: (0, 1), 6: (0, 2), 12: (0, 1), 15: (2, 1), 33: (6, 1), 39: (0, 1)}
TIMEOUT, TRIES, AT_ONCE = 9, 2, 32


def name_at(message, at):
    """The name in lower case, and where it ends."""
    out, end = b"", None
    for _ in range(200):
        length = message[at]
        if length >= 0xC0:
            end = end or at + 2
            at = (length & 0x3F) << 8 | message[at + 1]
        elif length == 0:
            return out + b"\0", end or at + 1
        else:
            out += message[at:at + 1 + length].lower()
            at += 1 + length
    raise ValueError("a name that does not end")


def show(name):
    labels, at = [], 0
    while name[at]:
        labels.append(name[at + 1:at + 1 + name[at]].decode("latin-1"))
        at += 1 + name[at]
    return ".".join(labels) + "."


def read(message):
    """(rcode, AD, record sets), (truncated)."""
    flags, questions, answers = struct.unpack("!HHH", message[2:8])
    at = 12
    for _ in range(questions):
        at = name_at(message, at)[1] + 4
    sets = collections.defaultdict(set)
    for _ in range(answers):
        owner, at = name_at(message, at)
        rtype, _, _, length = struct.unpack("!HHIH", message[at:at + 10])
        at += 10
        end = at + length
        if rtype in COMPRESSED:
            before, names = COMPRESSED[rtype]
            data, place = message[at:at + before], at + before
            for _ in range(names):
                name, place = name_at(message, place)
                data += name
            data += message[place:end]
        else:
            data = message[at:end]
        sets[show(owner), SHOWN.get(rtype, f"TYPE{rtype}")].add(data)
        at = end
    shown = tuple(sorted((owner, rtype, tuple(sorted(data))) for (owner, rtype), data in sets.items()))
    return (RCODES.get(flags & 15, str(flags & 15)), bool(flags & 0x20), shown), bool(flags & 0x200)


def query(name, rtype, id):
    octets, label = b"", b""
    # "\\." is a dot within a label.
    for part in re.findall(r"\\.|[^.]+|\.", name.rstrip(".") + "."):
        if part == ".":
            octets += bytes([len(label)]) + label if label else b""
            label = b""
        else:
            label += part.replace("\\", "").encode()
    number = TYPES.get(rtype) or int(rtype[4:])
    return struct.pack("!HHHHHH", id, 0x0120, 1, 0, 0, 1) + octets + b"\0" + struct.pack("!HH", number, 1) + \
        b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0)


class Asker(asyncio.DatagramProtocol):
    def __init__(self):
        self.waiting = {}

    def datagram_received(self, message, _):
        answer = self.waiting.get(message[:2])
        if answer and not answer.done():
            answer.set_result(message)

    async def ask(self, address, name, rtype):
        for _ in range(TRIES):
            id = next(id for id in iter(lambda: random.randrange(65536), None) if struct.pack("!H", id) not in self.waiting)
            message = query(name, rtype, id)
            answer = self.waiting[message[:2]] = asyncio.get_running_loop().create_future()
            self.transport.sendto(message)
            try:
                response = await asyncio.wait_for(answer, TIMEOUT)
            except asyncio.TimeoutError:
                continue
            finally:
                del self.waiting[message[:2]]
            result, truncated = read(response)
            if truncated:
                reader, writer = await asyncio.open_connection(address, 53)
                writer.write(struct.pack("!H", len(message)) + message)
                length, = struct.unpack("!H", await reader.readexactly(2))
                result, _ = read(await reader.readexactly(length))
                writer.close()
            return result
        return "no answer", False, ()

    def connection_made(self, transport):
        self.transport = transport


def text(result, with_ad):
    rcode, ad, sets = result
    shown = "; ".join(f"{owner} {rtype}*{len(data)}" + (f" {data[0].hex()[:40]}" if len(data) == 1 else "") for owner, rtype, data in sets)
    return f"{rcode}{' AD' if with_ad and ad else ''} {shown}"


def word(result, rtype):
    rcode, ad, sets = result
    if rcode == "no answer":
        return "silent"
    missing = rtype != "ANY" and rtype not in (shown for _, shown, _ in sets)
    shown = "NODATA" if rcode == "NOERROR" and missing else rcode
    return shown + ("+records" if sets and rcode not in ("NOERROR", "NXDOMAIN") else "") + ("+AD" if ad else "")


def matches(pattern, text):
    return any(fnmatch.fnmatchcase(text, part) for part in pattern.split("|"))


async def main():
    with_ad, exceptions_file, *resolvers = sys.argv[1:]
    with_ad = with_ad == "ad"
    resolvers = [resolver.split("=") for resolver in resolvers]
    questions = [line.split() for line in sys.stdin]
    exceptions = [line.split(None, 5) for line in open(exceptions_file) if line.strip() and not line.startswith("#")]
    used, tally, differences = set(), collections.Counter(), []
    askers = {}
    for who, address in resolvers:
        _, askers[who] = await asyncio.get_running_loop().create_datagram_endpoint(Asker, remote_addr=(address, 53))
    slots = asyncio.Semaphore(AT_ONCE)

    async def look(name, rtype):
        async with slots:
            results = await asyncio.gather(*(askers[who].ask(address, name, rtype) for who, address in resolvers))
        seen = {who: (rcode, ad if with_ad else None, sets) for (who, _), (rcode, ad, sets) in zip(resolvers, results)}
        tally[f"{results[0][0]}{' AD' if with_ad and results[0][1] else ''}"] += 1
        ours = seen[resolvers[0][0]]
        odd = [who for who in seen if seen[who] != ours]
        reasons = []
        for who in odd:
            first, second = word(ours, rtype), word(seen[who], rtype)
            said = (first, second if second != first else "other")
            reasons.append(next((index for index, (names, types, whose, *saying, _) in enumerate(exceptions)
                                 if matches(names, name.lower()) and matches(types, rtype) and whose == who
                                 and all(matches(pattern, text) for pattern, text in zip(saying, said))), None))
        if odd:
            used.update(reasons)
            tally["(excepted)"] += None not in reasons
            if None in reasons or "SHOW" in os.environ:
                differences.append((name, rtype, seen, None not in reasons))

    await asyncio.gather(*(look(name, rtype) for name, rtype in questions))
    for name, rtype, seen, excepted in sorted(differences, key=lambda entry: (entry[0].split(".")[::-1], entry[1])):
        print(f"{'excepted' if excepted else 'DIFFERENT'} {name} {rtype}: {' / '.join(word(result, rtype) for result in seen.values())}")
        for who, result in seen.items():
            print(f"    {who:9}{text(result, with_ad)}")
    for exception in (exception for index, exception in enumerate(exceptions) if index not in used):
        print(f"not needed this time: {' '.join(exception).strip()}")
    print(", ".join(f"{what} {count}" for what, count in sorted(tally.items())))
    unexplained = sum(not excepted for *_, excepted in differences)
    print(f"{len(questions)} questions, {unexplained} differences without a reason")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
