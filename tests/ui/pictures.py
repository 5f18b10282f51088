"""Pictures for tests: a page of printed lines of any size, as PNG. Standard library only."""
import pathlib
import struct
import zlib


def read_grey(path):
    """A PNG of 8-bit grey, as rows of bytes."""
    data = pathlib.Path(path).read_bytes()
    at, packed, size = 8, b"", None
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        if kind == b"IHDR":
            size = struct.unpack(">IIBB", body[:10])
        elif kind == b"IDAT":
            packed += body
        at += 12 + length
    width, height, depth, colour = size
    assert depth == 8 and colour == 0, "expected 8-bit grey"
    raw, rows, before = zlib.decompress(packed), [], bytes(width)
    for y in range(height):
        start = y * (width + 1)
        rows.append(_unfilter(raw[start], bytearray(raw[start + 1:start + 1 + width]), before))
        before = rows[-1]
    return rows


def _unfilter(kind, row, above):
    for x in range(len(row)):
        left, up, corner = (row[x - 1] if x else 0), above[x], (above[x - 1] if x else 0)
        if kind == 1:
            row[x] = (row[x] + left) & 255
        elif kind == 2:
            row[x] = (row[x] + up) & 255
        elif kind == 3:
            row[x] = (row[x] + (left + up) // 2) & 255
        elif kind == 4:
            guess = left + up - corner
            nearest = min((left, up, corner), key=lambda value: abs(guess - value))
            row[x] = (row[x] + nearest) & 255
    return bytes(row)


def write_grey(path, rows):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    raw = b"".join(b"\0" + row for row in rows)
    pathlib.Path(path).write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 0, 0, 0, 0)) +
        chunk(b"IDAT", zlib.compress(raw, 1)) + chunk(b"IEND", b""))


def write_page(path, width, height, sample=pathlib.Path(__file__).parents[2] / "assets" / "samples" / "scan.png"):
    """The sample repeated and cut to that size."""
    rows = read_grey(sample)
    wide = [(row * (width // len(row) + 1))[:width] for row in rows]
    write_grey(path, (wide * (height // len(wide) + 1))[:height])


def write_sparse_page(path, width, height, sample=pathlib.Path(__file__).parents[2] / "assets" / "samples" / "scan.png"):
    """The sample once, in the top left corner of an empty page."""
    rows = [row[:width] for row in read_grey(sample)[:height]]
    paper = rows[0][:1]
    rows = [row + paper * (width - len(row)) for row in rows]
    write_grey(path, rows + [paper * width] * (height - len(rows)))
