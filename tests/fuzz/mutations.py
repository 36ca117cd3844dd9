"""Ways to spoil a file, from a fixed random generator.

Takes the bytes of a good file.
Gives bytes that are cut, flipped, repeated, or of a structure that lies.
"""

import io
import struct
import warnings
import zipfile
import zlib

import numpy as np

WORDS = [b"NaN", b"inf", b"-1", b"1e308", b"9" * 40, b"\x00", b"\xff\xfe", b"\x1b[2J", b'"', b",",
         b"\n", b"=1+1", "\u202e".encode(), b"[", b"{", b"e", b"-", b"0", b"null"]  # fmt: skip
NUMBERS = [0, 1, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1]


def spoiled(content, generator):
    """Spoil bytes in one to three ways."""
    content = bytearray(content)
    for _ in range(int(generator.integers(1, 4))):
        way = generator.integers(7)
        at = int(generator.integers(len(content) + 1))
        if way == 0:
            del content[at:]
        elif way == 1 and content:
            for place in generator.integers(len(content), size=int(generator.integers(1, 9))):
                content[place] ^= 1 << int(generator.integers(8))
        elif way == 2:
            word = WORDS[generator.integers(len(WORDS))]
            content[at : at + int(generator.integers(0, 9))] = word
        elif way == 3:
            number = NUMBERS[generator.integers(len(NUMBERS))]
            width = [1, 2, 4, 8][generator.integers(4)]
            content[at : at + width] = (number % 256**width).to_bytes(width, "little")
        elif way == 4:
            del content[at : at + int(generator.integers(1, 65))]
        elif way == 5:
            piece = bytes(content[at : at + int(generator.integers(1, 65))])
            content[at:at] = piece * int(generator.integers(1, 5))
        else:
            content[at : at + 4] = generator.bytes(int(generator.integers(1, 17)))
    return bytes(content)


def arrays_spoiled(content, generator):
    """Spoil one array of an archive and pack it again, so that all zip checksums are right."""
    with np.load(io.BytesIO(content)) as stored:
        arrays = {name: stored[name] for name in stored.files}
    names = list(arrays)
    name = names[generator.integers(len(names))]
    array = arrays[name]
    way = generator.integers(10)
    if way == 0:
        del arrays[name]
    elif way == 1:
        arrays[name] = array[..., None]
    elif way == 2 and array.ndim:
        arrays[name] = array[: len(array) // 2]
    elif way == 3 and array.ndim:
        arrays[name] = np.concatenate([array, array])
    elif way == 4 and array.size and array.dtype.kind in "fciu":
        flat = np.array(array, ndmin=1, copy=True).ravel()
        odd = [np.nan, np.inf, -1, 0, 1e9, -1e300, 400][generator.integers(7)]
        with np.errstate(all="ignore"):
            flat[generator.integers(flat.size)] = np.array(odd).astype(flat.dtype)
        arrays[name] = flat.reshape(array.shape)
    elif way == 5:
        arrays[name] = np.array(["a", "\x1b[2J"])
    elif way == 6:
        arrays[name] = np.zeros(0)
    elif way == 7:
        arrays[name] = np.array(0)
    elif way == 8:
        arrays[name] = array.astype("U8") if array.dtype.kind != "c" else np.array(["x"])
    elif array.dtype.kind in "fc":
        arrays[name] = 1e6 * array
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def header_spoiled(content, generator):
    """Let the header of one array claim another shape, kind or length."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w") as new:
        entries = old.infolist()
        chosen = generator.integers(len(entries))
        for k, entry in enumerate(entries):
            member = old.read(entry)
            if k == chosen:
                length = struct.unpack("<H", member[8:10])[0]
                claims = ["(10**12,)", "(-1,)", "(2,2,2)", "(99999999999,)", "('a',)", "()", "(0,)"]
                kinds = ["'<f8'", "'|O'", "'<U4000000000'", "'<c16'", "[('a','<f8')]", "'<M8[s]'"]
                text = (
                    f"{{'descr': {kinds[generator.integers(len(kinds))]}, 'fortran_order': False, "
                    f"'shape': {claims[generator.integers(len(claims))]}}}"
                ).encode()
                if generator.integers(4) == 0:
                    text = spoiled(text, generator)
                text = text.ljust(length - 1)[: length - 1] + b"\n"
                member = member[:10] + text + member[10 + length :]
            new.writestr(entry.filename, member)
    return stream.getvalue()


def bomb(content, generator):
    """Put a member into an archive that expands a thousandfold."""
    stream = io.BytesIO(content)
    with (
        warnings.catch_warnings(action="ignore", category=UserWarning),  # a name twice, on purpose
        zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED) as archive,
    ):
        name = archive.namelist()[generator.integers(len(archive.namelist()))]
        size = 300 * 2**20
        shape = f"({size // 8},)".encode()
        text = b"{'descr': '<f8', 'fortran_order': False, 'shape': " + shape + b"}"
        text = text.ljust(117) + b"\n"
        with archive.open("bomb.npy" if generator.integers(2) else name, "w") as member:
            member.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text)
            for _ in range(300):
                member.write(bytes(2**20))
    return stream.getvalue()


def compressed_zeros(size):
    """Give a megabyte or less that expands to `size` bytes."""
    return zlib.compress(bytes(size), 9)
