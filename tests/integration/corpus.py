"""Messages that a gateway is likely to damage: by name, as plain bytes with CRLF line ends."""

import random

LIMIT = 26214400
INJECTED = b"MAIL FROM:<injected@example.org>\r\nRCPT TO:<injected@example.com>\r\nDATA\r\n"
HEADER = b"From: sender@example.org\r\nSubject: corpus\r\n\r\n"

EVERY_BYTE = bytes(value for value in range(256) if value not in b"\r\n")
HIGH_BYTES = bytes(range(128, 256))


def small() -> dict[str, bytes]:
    """Bodies of up to some hundred bytes."""
    return {
        "empty": b"",
        "one empty line": b"\r\n",
        "no header": b"\r\nbody\r\n",
        "no header, no empty line": b"body without a header\r\n",
        "header only": b"Subject: nothing more\r\n",
        "first line folded": b" looks like a continuation\r\n\tand so does this\r\n",
        "lone dot": b".\r\n",
        "lone dot after the header": HEADER + b".\r\n",
        "lone dots": b".\r\n" * 5,
        "lone dot, then commands": HEADER + b".\r\n" + INJECTED,
        "lines of dots": b"".join(b"." * n + b"\r\n" for n in range(1, 12)),
        "dots before text": HEADER + b".a\r\n..b\r\n...c\r\n.\r\n\r\n.\r\n",
        "eight bits": HEADER + HIGH_BYTES + b"\r\n" + "naïve façade\r\n".encode(),
        "every byte": HEADER + EVERY_BYTE + b"\r\n" + EVERY_BYTE[::-1] + b"\r\n",
        "NUL": HEADER + b"\0\r\n\0\0\0\r\na\0b\r\n",
        "empty lines": b"\r\n" * 50,
    }


def large() -> dict[str, bytes]:
    """Bodies of up to 100 kB."""
    dots = {
        f"dot lines every {size + 2} bytes": (b"." * size + b"\r\n") * (65536 // (size + 2))
        for size in range(1, 7)
    }
    return {**dots, "line of 100000 bytes": HEADER + b"x" * 100_000 + b"\r\n" + b".\r\n"}


def around_powers_of_two() -> dict[str, bytes]:
    """A lone dot line that begins near each size that a buffer may have, then what it could do."""
    powers = [4096 << shift for shift in range(5)]
    offsets = [power + near for power in powers for near in range(-8, 9)]
    return {f"dot at {at}": filler(at) + b".\r\n" + INJECTED for at in offsets}


def filler(size: int) -> bytes:
    """``size`` bytes of lines, the last one complete."""
    line = b"filler " * 10 + b"\r\n"
    rest = size % len(line) + len(line)
    return line * (size // len(line) - 1) + b"x" * (rest - 2) + b"\r\n"


def huge() -> bytes:
    """A message just below the limit: seeded lines of all bytes, of up to 2000 bytes each."""
    source = random.Random(25)
    lines = [source.choices(EVERY_BYTE, k=source.randint(0, 2000)) for _ in range(200)]
    block = b"".join(bytes(line) + b"\r\n" for line in lines).replace(b"\r\n.", b"\r\n:")
    size = LIMIT - 4096
    body = HEADER + block * (size // len(block))
    return body + filler(size - len(body)) if size - len(body) > 200 else body
