"""give.py HOST PORT SOURCE FROM TO[,TO…] [MAIL-PARAMETER…] [--rcpt PARAMETER…] < MESSAGE

Gives a message to an SMTP server, its octets as they are, over Python's own client.
"""
import smtplib
import sys

host, port, source, sender, recipients, *rest = sys.argv[1:]
cut = rest.index("--rcpt") if "--rcpt" in rest else len(rest)
message = sys.stdin.buffer.read()
with smtplib.SMTP(host, int(port), local_hostname="client.test", source_address=(source, 0), timeout=30) as smtp:
    smtp.ehlo()
    refused = smtp.sendmail(sender, recipients.split(","), message, rest[:cut], rest[cut + 1 :])
    sys.exit(f"refused: {refused}" if refused else 0)
