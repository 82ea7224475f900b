"""Five hundred files that are broken or mean harm: each is refused, executes nothing and costs little memory."""

import io
import json
import pickle
import random
import re
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import polygrad as pg
from polygrad.io.names import LEGACY_MAGIC
from polygrad.io.pickler import Pickler

LINUX = sys.platform == "linux"
if LINUX:
    import resource

ROOT = Path(__file__).resolve().parent.parent
SPARE = 64 * 2**20


def nest():
    return {"w": pg.arange(600.0).reshape(20, 30), "b": [pg.ones(7), 3, "x"], "n": pg.arange(5)}


def whole_zip():
    file = io.BytesIO()
    pg.save(nest(), file)
    return file.getvalue()


def zip_of(pickled, *others, names=("archive/data.pkl",)):
    """An archive with a pickle and a storage of 400 bytes, and other files."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, pickled)
        archive.writestr("archive/data/0", bytes(400))
        for name, data in others:
            archive.writestr(name, data)
    return file.getvalue()


def legacy_of(pickled, storages=((b"0", 100, bytes(400)),)):
    """A file of the legacy format around a pickle of the new one, whose storages have one field less."""
    head = [LEGACY_MAGIC, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}]
    keys = [key.decode() for key, _, _ in storages]
    body = b"".join(struct.pack("<Q", count) + data for _, count, data in storages)
    pickled = re.sub(rb"(J....)tQ", rb"\1NtQ", pickled, flags=re.DOTALL)
    return b"".join(pickle.dumps(x, 2) for x in head) + pickled + pickle.dumps(keys, 2) + body


def whole_legacy():
    pickler = Pickler()
    pickled = pickler.dump(nest())
    storages = [(str(i).encode(), x.numel(), x.numpy().tobytes()) for i, x in enumerate(pickler.storages)]
    return legacy_of(pickled, storages)


def whole_safetensors(entries=None, body=None, length=None):
    text = json.dumps(entries).encode() if isinstance(entries, dict) else entries
    if text is None:
        text = json.dumps(
            {
                "a": {"dtype": "F32", "shape": [10], "data_offsets": [0, 40]},
                "b": {"dtype": "I64", "shape": [2, 1], "data_offsets": [40, 56]},
            }
        ).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + (bytes(56) if body is None else body)


def tensor_pickle(offset=0, shape=(100,), strides=(1,), count=100, kind=b"FloatStorage", key=b"0", hooks=b"N"):
    """A pickle of one tensor as it is described, whatever that is."""
    number = Pickler()

    def plain(value):
        number.out = io.BytesIO()
        number._save(value, "")
        return number.out.getvalue()

    storage = b"(X\x07\0\0\0storagectorch\n" + kind + b"\nX" + struct.pack("<I", len(key)) + key + b"X\x03\0\0\0cpu"
    storage += plain(count) + b"tQ"
    return (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n("
        + storage
        + plain(offset)
        + plain(shape)
        + plain(strides)
        + b"\x89"
        + hooks
        + b"tR."
    )


def calls():
    """Pickles that would run something, or build what is no data."""
    text = b"X\x0f\0\0\0touch HARMED.txt"
    for name in (
        *(b"os\nsystem", b"posix\nsystem", b"nt\nsystem", b"subprocess\nPopen", b"subprocess\ncall", b"builtins\neval"),
        *(b"builtins\nexec", b"__builtin__\neval", b"builtins\ngetattr", b"builtins\n__import__", b"builtins\nopen"),
        *(b"runpy\nrun_path", b"importlib\nimport_module", b"socket\nsocket", b"shutil\nrmtree", b"pickle\nloads"),
        *(b"torch\nload", b"torch.jit\nload", b"torch._utils\n_rebuild_qtensor", b"torch.nn.modules.linear\nLinear"),
        *(b"numpy\nload", b"numpy.core.multiarray\n_reconstruct", b"functools\npartial", b"operator\nattrgetter"),
        *(b"polygrad\nload", b"collections\ndefaultdict", b"types\nFunctionType", b"ctypes\nCDLL", b"webbrowser\nopen"),
    ):
        yield b"\x80\x02c" + name + b"\n(" + text + b"tR."
        yield b"\x80\x02c" + name + b"\n."
        module, _, function = name.partition(b"\n")
        yield (
            b"\x80\x04\x8c"
            + bytes([len(module)])
            + module
            + b"\x8c"
            + bytes([len(function)])
            + function
            + b"\x93"
            + text
            + b"\x85R."
        )
        yield b"(" + text + b"i" + name + b"\n."
    yield b"\x80\x02(cos\nsystem\n" + text + b"o."
    yield b"\x80\x02cos\nsystem\n)\x81."
    yield b"\x80\x02ccollections\nOrderedDict\n)R}X\x01\0\0\0acos\nsystem\nsb."
    yield b"\x80\x02\x82\x01."
    yield b"\x80\x02]X\x01\0\0\0a}b."
    yield b"\x80\x02X\x01\0\0\0a(tR."
    yield b"\x80\x02ccollections\nOrderedDict\n(X\x01\0\0\0atR."
    yield b"\x80\x02(X\x06\0\0\0moduleX\x01\0\0\0aX\x01\0\0\0bX\x01\0\0\0cX\x01\0\0\0dNtQ."
    yield b"\x80\x02ctorch\nFloatStorage\n."
    yield tensor_pickle(hooks=b"}(K\x01K\x02u")


def greedy():
    """Pickles that ask for memory, or are broken."""
    yield b"\x80\x02" + b"]" * 2_000_000 + b"."
    yield b"\x80\x04" + b"\x8f" * 500_000 + b"."
    yield b"\x80\x02" + b"(" * 3_000_000 + b"."
    yield b"\x80\x02]" + b"q\x00" * 1_500_000 + b"."
    yield b"\x80\x02Nr\xff\xff\xff\x7fj\xfe\xff\xff\x7f."
    yield b"\x80\x02X\xff\xff\xff\x7fabc."
    yield b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"abc."
    yield b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"abc."
    yield b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"abc."
    yield b"\x80\x02\x8b\xff\xff\xff\x7fabc."
    yield b"\x80\x02\x8b\xff\xff\xff\xffabc."
    yield b"\x80\x02}]K\x01s."
    yield b"\x80\x02}(K\x01u."
    yield b"\x80\x02NNe."
    yield b"\x80\x02Na."
    yield b"\x80\x02h\x05."
    yield b"\x80\x09N."
    yield b"\x80\x02\xf0."
    yield b"\x80\x02."
    yield b"\x80\x02" + b"K\x01\x86" * 3 + b"."
    doubled = b"\x80\x02K\x01K\x01\x86" + b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(60))
    yield b"\x80\x02}" + doubled[2:] + b"K\x01s."  # the hash of this key would take 2**60 steps
    yield b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."  # lists in lists, too deep to walk through by recursion
    yield b""


def absurd():
    """Tensors that do not fit into their storage."""
    yield tensor_pickle(shape=(101,))
    yield tensor_pickle(offset=1)
    yield tensor_pickle(offset=-1, shape=(50,))
    yield tensor_pickle(strides=(2,))
    yield tensor_pickle(strides=(-1,))
    yield tensor_pickle(shape=(-1,))
    yield tensor_pickle(shape=(2**40,), strides=(0,))
    yield tensor_pickle(shape=(2**31, 2**31), strides=(0, 0))
    yield tensor_pickle(shape=(2**62, 0), strides=(0, 0))
    yield tensor_pickle(shape=(100,), strides=(1, 1))
    yield tensor_pickle(shape=(1,) * 100, strides=(1,) * 100)
    yield tensor_pickle(shape=(2**100,))
    yield tensor_pickle(count=101, shape=(101,))
    yield tensor_pickle(count=2**62, shape=(2**62,))
    yield tensor_pickle(count=-5, shape=(0,))
    yield tensor_pickle(kind=b"DoubleStorage")
    yield tensor_pickle(kind=b"QInt8Storage")
    yield tensor_pickle(key=b"../../etc/passwd")
    yield tensor_pickle(key=b"7")
    yield tensor_pickle(shape="abc")
    yield tensor_pickle(shape=(1.0,))
    view = tensor_pickle(shape=(100, 600_000), strides=(1, 0))[2:-1]
    yield b"\x80\x02](" + view + b"e."
    yield b"\x80\x02](" + b"".join(tensor_pickle(shape=(90, 2000 + i), strides=(1, 0))[2:-1] for i in range(90)) + b"e."


def places(data, rng, n):
    return sorted(rng.sample(range(1, len(data)), min(n, len(data) - 1)))


def flipped(data, at, rng):
    made = bytearray(data)
    made[at] ^= 1 << rng.randrange(8)
    return bytes(made)


def archives(rng):
    """Archives that are cut, changed or put together wrongly."""
    good = whole_zip()
    for at in places(good, rng, 70):
        yield good[:at]
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        infos = archive.infolist()
    for _ in range(90):
        info = rng.choice(infos)
        start = info.header_offset + 30 + len(info.filename)
        yield flipped(good, start + rng.randrange(info.file_size), rng)
    directory = good.rindex(b"PK\x05\x06")
    (first,) = struct.unpack("<I", good[directory + 16 : directory + 20])
    for at in [first, first + 1, first + 10, *range(first + 16, first + 30), *range(first + 42, first + 46)]:
        yield flipped(good, at, rng)
    for at, form, value in [
        *((directory + 8 + 2, "<H", n) for n in (0, 1, 60_000, 65_535)),
        *((directory + 12, "<I", n) for n in (0, 10, 2**31, 2**32 - 1)),
        *((directory + 16, "<I", n) for n in (1, 2**31, 2**32 - 1)),
        *((first + 20, "<II", n) for n in (2**31, 2**32 - 1)),
    ]:
        made = bytearray(good)
        struct.pack_into(form, made, at, *([value] * (len(form) - 1)))
        yield bytes(made)
    pickled = b"\x80\x02N."
    for name in (
        "../evil",
        "archive/../../evil",
        "/etc/passwd",
        "..\\evil",
        "C:\\evil",
        "archive/data/../../../x",
        "\\x",
    ):
        yield zip_of(pickled, (name, b"x"))
    yield zip_of(pickled, names=("x/data.pkl", "y/data.pkl"))
    yield zip_of(pickled, names=())
    yield zip_of(pickled, ("archive/constants.pkl", b"N."))
    yield zip_of(pickled, ("archive/code/__torch__.py", b"import os"))
    yield zip_of(pickled, ("archive/byteorder", b"big"))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(50 * 2**20))  # 50 MiB in 50 KiB
    yield packed.getvalue()
    twice = zip_of(pickled, ("archive/data/1", bytes(400)))
    last = twice.index(b"archive/data/1", twice.index(b"PK\x01\x02")) - 46
    other = twice.index(b"archive/data/0", twice.index(b"PK\x01\x02")) - 46
    made = bytearray(twice)
    made[last + 42 : last + 46] = made[other + 42 : other + 46]  # two files in one place
    yield bytes(made)
    yield good.replace(b"archive/data/1", b"archive/data/0")


def legacies(rng):
    """Legacy files that are cut or whose structure is changed."""
    good = whole_legacy()
    for at in places(good, rng, 60):
        yield good[:at]
    yield good + b"x"
    for at in range(4, 14):
        yield flipped(good, at, rng)
    end = len(good) - 5 * 8 - 8
    for at in range(end, end + 8):
        yield flipped(good, at, rng)
    yield good.replace(b"little_endian", b"little_Endian")
    yield legacy_of(tensor_pickle(), ((b"0", 2**62, bytes(400)),))
    yield legacy_of(tensor_pickle(), ((b"1", 100, bytes(400)),))
    yield legacy_of(tensor_pickle(), ())
    yield legacy_of(tensor_pickle(), ((b"0", 100, bytes(399)),))


def safetensors(rng):
    """Files of safetensors with headers that are cut, changed, absurd or overlap."""
    good = whole_safetensors()
    for at in places(good, rng, 40):
        yield good[:at]
    for at in range(64):
        made = bytearray(good)
        made[at // 8] ^= 1 << at % 8
        yield bytes(made)

    def entry(shape, start, stop, kind="F32"):
        return {"dtype": kind, "shape": shape, "data_offsets": [start, stop]}

    a, b = entry([10], 0, 40), entry([4], 40, 56)
    for other in (
        *(entry([4], 0, 16), entry([4], 36, 52), entry([4], 44, 60), entry([4], 56, 40), entry([5], 40, 56)),
        *(entry([2**62], 40, 56), entry([2**62, 0], 40, 40), entry([-4], 40, 56), entry([4.0], 40, 56)),
        *(entry([4], 40, 2**63), entry([4], -16, 0), entry([4], "40", 56), entry([True], 40, 44), entry("ab", 40, 56)),
        *(entry([4], 40, 56, "F8"), entry([4], 40, 56, None), entry([4], 40, 56, ["F32"]), entry([1] * 99, 40, 44)),
        *({}, [], None, 3, {"dtype": "F32"}, {**b, "data_offsets": [40]}, {**b, "shape": None}),
    ):
        yield whole_safetensors({"a": a, "b": other})
    yield whole_safetensors({"a": a})
    yield whole_safetensors({})
    yield whole_safetensors(b'{"a":' + json.dumps(a).encode() + b',"a":' + json.dumps(a).encode() + b"}", bytes(40))
    yield whole_safetensors(b"{" + b" " * (9 * 2**20) + b"}")
    yield whole_safetensors(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    yield whole_safetensors(b'{"a":[' + b"[]," * 1_000_000 + b"[]]}")
    yield whole_safetensors(('{"' + "x" * 7_000_000 + '\U0001f600":1}').encode())
    for length in (0, 1, 2**20, 2**40, 2**63, 2**64 - 1):
        yield whole_safetensors(length=length)


def attacks():
    rng = random.Random(0)
    yield from archives(rng)
    yield from legacies(rng)
    yield from safetensors(rng)
    for pickled in (*calls(), *greedy(), *absurd()):
        yield zip_of(pickled)
        yield legacy_of(pickled)
    for pickled in calls():
        yield pickled


def suffer(folder):
    """Load all of them; prints what went wrong, and how many there were."""
    path, events = Path(folder) / "x.pt", []
    forbidden = re.compile(
        r"os\.(system|exec|posix_spawn|spawn|remove|rename|mkdir)|subprocess|socket|ctypes|shutil|import$|exec$|compile$"
    )
    watching = [False]

    def hook(event, arguments):
        if watching[0] and (forbidden.match(event) or (event == "open" and "w" in str(arguments[1]))):
            events.append((event, arguments))

    pg.load(io.BytesIO(whole_zip()))
    assert pg.load(io.BytesIO(whole_legacy()))["w"].shape == (20, 30)
    assert set(pg.load(io.BytesIO(whole_safetensors()))) == {"a", "b"}
    assert pg.load(io.BytesIO(zip_of(tensor_pickle()))).shape == (100,)
    assert pg.load(io.BytesIO(legacy_of(tensor_pickle()))).shape == (100,)
    sys.addaudithook(hook)
    count, wrong = 0, []
    for count, data in enumerate(attacks(), 1):
        path.write_bytes(data)
        heavy = len(data) > 200_000 and not LINUX
        if heavy:
            tracemalloc.start()
        if LINUX:
            limited(len(data))
        watching[0] = True
        try:
            pg.load(path)
            wrong.append(f"{count} was read: {data[:60]!r} ... {data[-60:]!r}")
        except ValueError as error:
            if len(str(error)) > 2000:
                wrong.append(f"{count} has a message of {len(str(error))} characters")
        except BaseException as error:
            wrong.append(f"{count} gave {type(error).__name__}: {error}: {data[:60]!r} ... {data[-60:]!r}")
        watching[0] = False
        if LINUX:
            limited(None)
        if heavy:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            if peak > len(data) + SPARE:
                wrong.append(f"{count} of {len(data)} bytes took {peak}")
        wrong += [f"{count}: {event}" for event in events]
        events.clear()
    print(json.dumps({"count": count, "wrong": wrong, "left": sorted(p.name for p in Path(folder).iterdir())}))


def limited(size):
    """Let the process have a file's size and 64 MiB more memory than it has now; None takes the limit away."""
    used = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmData"))
    resource.setrlimit(resource.RLIMIT_DATA, (-1 if size is None else used + size + SPARE, -1))


CODE = "import sys; sys.path.insert(0, 'tests'); import test_hostile_files; test_hostile_files.suffer(sys.argv[1])"


def test_five_hundred_files_are_refused(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", CODE, tmp_path], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["wrong"] == [] and found["count"] >= 500 and found["left"] == ["x.pt"]
    assert not (ROOT / "HARMED.txt").exists()
