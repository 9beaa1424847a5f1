"""The files of a bag, complete or truncated: their topics, and their messages as bytes, streamed in order."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import zstandard
from mcap.records import Channel, Message, Schema
from mcap.stream_reader import StreamReader
from rosbags import rosbag1, rosbag2
from rosbags.rosbag1.reader import Header, RecordType, decompressors, read_bytes, read_uint32
from rosbags.typesys.msg import normalize_msgtype

from taskgan_ros.core.config import read_yaml
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.files import check_fetched
from taskgan_ros.recordings.read_options import BAG_SUFFIXES

_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_ROS1: Final = "ros1"
_LONGEST_CAUSE: Final = 120  # characters of a library's complaint


class Packet(NamedTuple):
    """A message as it lies in a file.

    Attributes:
        type: sensor_msgs/msg/Image for instance.
        received_ns: when it was recorded.
        encoding: `cdr`, or `ros1`.
    """

    topic: str
    type: str
    received_ns: int
    encoding: str
    data: bytes


Packets = Iterator[Packet]


class BagFile:
    """One file of a bag.

    Attributes:
        counts: (topic, type) and how many messages there are.
        remark: why reading ended early, "" where it did not.
    """

    def __init__(self, path: Path) -> None:
        """Read which topics it has; a truncated file is read completely for that.

        Raises:
            InputError: nothing in it can be read.
        """
        self.path, self.remark = path, ""
        self.counts: Counter[tuple[str, str]] = Counter()
        try:
            self._whole()
            self._packets: Callable[[Collection[str]], Packets] = self._read_whole
        except Exception as error:  # the readers raise a dozen kinds on damaged files
            self._packets, cause = self._read_cut_off, _cause(error)
            for packet in self.packets(()):
                self.counts[packet.topic, packet.type] += 1
            if not self.counts:
                raise InputError(f"{path}: expected a bag, got one that cannot be read: {cause}") from error
            self.remark = self.remark or f"{path.name} is not whole ({cause}); what precedes the damage is read"

    def packets(self, topics: Collection[str]) -> Packets:
        """Yield the messages of some topics, all where there are none, in order; a damaged file ends early."""
        packets, read = self._packets(topics), 0
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except Exception as error:  # as above
                self.remark = f"{self.path.name} is cut off or damaged: {_cause(error)}; what precedes that is read"
                return
            read += 1
            yield _decompressed(packet)

    def _whole(self) -> None:
        """Count the messages of a file that has its index."""
        with _reader(self.path) as reader:
            for connection in reader.connections:
                self.counts[connection.topic, connection.msgtype] += connection.msgcount

    def _read_whole(self, topics: Collection[str]) -> Packets:
        encoding = _ROS1 if self.path.suffix == ".bag" else "cdr"
        with _reader(self.path) as reader:
            wanted = [one for one in reader.connections if not topics or one.topic in topics]
            if not wanted:
                return
            for connection, received_ns, data in reader.messages(wanted):
                yield Packet(connection.topic, connection.msgtype, received_ns, encoding, data)

    def _read_cut_off(self, topics: Collection[str]) -> Packets:
        """Read from the first byte on, without an index."""
        read = {".bag": _read_bag_1, ".db3": _read_sqlite3}.get(self.path.suffix, _read_mcap)
        return (packet for packet in read(self.path) if not topics or packet.topic in topics)


def bag_files(path: Path, folder: Path) -> list[Path]:
    """Return the files of the bag at `path`, in order; compressed ones are unpacked into `folder`.

    Raises:
        InputError: a file that the metadata lists is missing, or only a Git LFS pointer.
    """
    files = _listed(path) if path.is_dir() else [path]
    for file in files:
        check_fetched(file)
    return [_unpacked(file, folder) for file in files]


def _listed(folder: Path) -> list[Path]:
    """Return a folder's files by its metadata; by the numbers in their names where there are none that can be read."""
    there = [file for file in folder.iterdir() if file.suffix in BAG_SUFFIXES]
    named: list[str] = []
    with contextlib.suppress(InputError, KeyError, TypeError):
        values = read_yaml(folder / "metadata.yaml")["rosbag2_bagfile_information"]
        named = [Path(name).name for name in values["relative_file_paths"]]
    if missing := [name for name in named if not (folder / name).is_file()]:
        raise InputError(f"{folder}: expected the files that metadata.yaml names, got none of {missing}")
    if not there:
        raise InputError(f"{folder}: expected a bag's files beside metadata.yaml, got none")
    return [folder / name for name in named] or sorted(there, key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(part or 0), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", path.name)]


def _unpacked(path: Path, folder: Path) -> Path:
    if path.suffix != ".zstd":
        return path
    out = folder / path.stem
    try:
        with path.open("rb") as packed, out.open("wb") as plain:
            zstandard.ZstdDecompressor().copy_stream(packed, plain)
    except zstandard.ZstdError as error:
        if not out.stat().st_size:
            raise InputError(f"{path}: expected a zstd file, got: {error}") from error
    return out  # cut off where the packed one is


@contextlib.contextmanager
def _reader(path: Path) -> Iterator[Any]:
    with rosbag1.Reader(path) if path.suffix == ".bag" else rosbag2.Reader(path) as reader:
        # rosbag2.Reader keeps them in its storage
        yield reader


def _decompressed(packet: Packet) -> Packet:
    """Undo rosbag2's compression of messages; neither CDR nor ROS 1 begins as zstd does."""
    if packet.encoding != "cdr" or packet.data[:4] != _ZSTD_MAGIC:
        return packet
    return packet._replace(data=zstandard.ZstdDecompressor().decompressobj().decompress(packet.data))


def _read_mcap(path: Path) -> Generator[Packet, None, None]:
    schemas: dict[int, Schema] = {}
    channels: dict[int, Channel] = {}
    with path.open("rb") as file:
        for record in StreamReader(file).records:
            if isinstance(record, Schema):
                schemas[record.id] = record
            elif isinstance(record, Channel):
                channels[record.id] = record
            elif isinstance(record, Message):
                channel = channels[record.channel_id]
                schema = schemas.get(channel.schema_id)
                type_name = normalize_msgtype(schema.name) if schema and schema.name.count("/") == 1 else ""
                known = type_name or (schema.name if schema else "")
                yield Packet(channel.topic, known, record.log_time, channel.message_encoding, record.data)


def _read_sqlite3(path: Path) -> Generator[Packet, None, None]:
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)) as file:
        file.execute("PRAGMA writable_schema=ON")  # SQLite would refuse a file with fewer pages than its header has
        topics = {row[0]: row[1:] for row in file.execute("SELECT id, name, type, serialization_format FROM topics")}
        for topic, received_ns, data in file.execute("SELECT topic_id, timestamp, data FROM messages ORDER BY id"):
            name, type_name, encoding = topics[topic]
            yield Packet(name, type_name, received_ns, encoding, data)


def _read_bag_1(path: Path) -> Generator[Packet, None, None]:
    """Read a ROS 1 bag's chunks in order; a recorder that was killed leaves them without an index."""
    connections: dict[int, tuple[str, str]] = {}
    with path.open("rb") as file:
        file.readline()  # #ROSBAG V2.0
        for header, data in _records(file):
            if header.get_uint8("op") != RecordType.CHUNK:
                continue
            chunk = decompressors[header.get_string("compression")](data)
            for inner, content in _records(BytesIO(chunk)):
                if inner.get_uint8("op") == RecordType.CONNECTION:
                    fields = Header.read(BytesIO(len(content).to_bytes(4, "little") + content))
                    named = inner.get_string("topic"), normalize_msgtype(fields.get_string("type"))
                    connections[inner.get_uint32("conn")] = named
                elif inner.get_uint8("op") == RecordType.MSGDATA:
                    named = connections[inner.get_uint32("conn")]
                    yield Packet(*named, inner.get_time("time"), _ROS1, content)


def _records(file: BinaryIO) -> Iterator[tuple[Header, bytes]]:
    while file.read(1):
        file.seek(-1, 1)
        yield Header.read(file), read_bytes(file, read_uint32(file))


def _cause(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:_LONGEST_CAUSE]
