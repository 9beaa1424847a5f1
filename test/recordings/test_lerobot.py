from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taskgan_ros.core.errors import InputError
from taskgan_ros.recordings.recording import Frame, ReadOptions, open_recording

LENGTHS, FPS, KEY = (4, 6), 10, "observation.images.top"


def level(episode: int, k: int) -> int:
    """Return the grey of an image."""
    return 40 + 100 * episode + 10 * k


def write(path: Path, names: Any = ("a", "b"), late_s: float = 0.0, images: str = "video") -> Path:
    """Write a LeRobotDataset v2.1 of grey images, a video an episode or PNGs in the rows."""
    features: dict[str, Any] = {
        "observation.state": {"dtype": "float32", "shape": [2], "names": names},
        KEY: {"dtype": images, "shape": [48, 64, 3], "names": ["height", "width", "channel"]},
    }
    info = {
        "codebase_version": "v2.1",
        "total_episodes": len(LENGTHS),
        "chunks_size": 1000,
        "fps": FPS,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "features": features,
    }
    (path / "meta").mkdir(parents=True)
    (path / "meta" / "info.json").write_text(json.dumps(info))
    for episode, length in enumerate(LENGTHS):
        rows: dict[str, Any] = {
            "observation.state": [[90.0 * k, -10.0 * episode] for k in range(length)],
            "timestamp": [k / FPS + late_s * k for k in range(length)],
            "episode_index": [episode] * length,
        }
        if images == "image":
            rows[KEY] = [{"bytes": png(level(episode, k)), "path": None} for k in range(length)]
        else:
            write_video(path / f"videos/chunk-000/{KEY}/episode_{episode:06d}.mp4", episode, length)
        file = path / f"data/chunk-000/episode_{episode:06d}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(rows), file)
    return path


def png(grey: int) -> bytes:
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (64, 48), (grey,) * 3).save(file, format="PNG")
    return file.getvalue()


def write_video(path: Path, episode: int, length: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", Fraction(FPS), {"crf": "10"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for k in range(length):
            image = np.full((48, 64, 3), level(episode, k), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def read(bags: ModuleType, path: Path, **options: Any) -> tuple[list[Frame], list[str]]:
    scene = bags.Scene(bags.arm("a", "b"))
    recording = open_recording([path], scene, ReadOptions(**{"units": "degrees", **options}))
    return list(recording.frames()), recording.notes.sentences()


@pytest.mark.parametrize("images", ["video", "image"])
@pytest.mark.parametrize("names", [["a", "b"], ["a.pos", "b.pos"], {"motors": ["a", "b"]}])
def test_episodes_with_their_images_and_angles(bags: ModuleType, tmp_path: Path, images: str, names: Any) -> None:
    frames, _ = read(bags, write(tmp_path / "set", names, images=images))
    assert [frame.episode for frame in frames] == [0] * 4 + [1] * 6
    greys = [level(episode, k) for episode, length in enumerate(LENGTHS) for k in range(length)]
    assert [int(frame.rgb.mean()) for frame in frames] == pytest.approx(greys, abs=3)
    assert np.degrees(frames[5].joint_pos) == pytest.approx([90, -10])


def test_joints_without_names_are_numbered(bags: ModuleType, tmp_path: Path) -> None:
    path = write(tmp_path / "set", None)
    with pytest.raises(InputError, match=r"got \['state_0', 'state_1'\]: missing \['a', 'b'\]"):
        read(bags, path)
    frames, _ = read(bags, path, joint_names=("state_1", "state_0"))
    assert np.degrees(frames[5].joint_pos) == pytest.approx([-10, 90])


def test_images_of_uneven_stamps_are_taken_in_order(bags: ModuleType, tmp_path: Path) -> None:
    frames, lines = read(bags, write(tmp_path / "set", late_s=0.04))
    assert len(frames) == sum(LENGTHS)
    assert any("images are taken in order" in line for line in lines)


def test_the_present_part_of_an_incomplete_download_can_be_read(bags: ModuleType, tmp_path: Path) -> None:
    path = write(tmp_path / "set")
    (path / "data/chunk-000/episode_000000.parquet").unlink()
    with pytest.raises(InputError, match="got those of 1, an incomplete download: --episodes 1 reads what is there"):
        read(bags, path)
    assert len(read(bags, path, episodes=(1,))[0]) == 6
    with pytest.raises(InputError, match=r"expected --episodes of 0 to 1, got \[7\]"):
        read(bags, path, episodes=(7,))


def test_a_video_that_is_too_short_is_refused(bags: ModuleType, tmp_path: Path) -> None:
    path = write(tmp_path / "set")
    write_video(path / f"videos/chunk-000/{KEY}/episode_000001.mp4", 1, 3)
    with pytest.raises(InputError, match="expected 6 images from 0 s on, got 3: is it whole"):
        read(bags, path)


def test_another_version_is_refused(bags: ModuleType, tmp_path: Path) -> None:
    path = write(tmp_path / "set")
    info = path / "meta" / "info.json"
    info.write_text(info.read_text().replace("v2.1", "v9.0"))
    with pytest.raises(InputError, match=r"a LeRobotDataset of \['v2.0', 'v2.1', 'v3.0'\], got 'v9.0'"):
        read(bags, path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fps": 0}, "info.json: expected an fps above 0, got 0.0"),
        ({"fps": float("nan")}, "info.json: expected an fps above 0, got nan"),
        ({"video_path": None}, "meta: expected what describes a LeRobotDataset v2.1, got one that does not fit"),
        ({"data_path": "data/{chunk_index}.parquet"}, r"does not fit \(KeyError: 'chunk_index'\)"),
        ({"total_episodes": "many"}, r"does not fit \(ValueError: "),
        (
            {"features": {"observation.state": {}, KEY: "video"}},
            rf"a description of each feature, got none of \['{KEY}'\]",
        ),
        ({"features": []}, "info.json: expected the description of a LeRobotDataset"),
        ({"features": {"observation.state": {"names": {"motors": 2}}, KEY: {"dtype": "video"}}}, "expected names of"),
    ],
)
def test_a_damaged_description_is_refused_in_one_line(
    bags: ModuleType, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    file = write(tmp_path / "set") / "meta" / "info.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(InputError, match=message) as caught:
        read(bags, tmp_path / "set")
    assert len(str(caught.value).splitlines()) == 1


def test_a_list_of_episodes_without_its_columns_is_refused(bags: ModuleType, tmp_path: Path) -> None:
    meta = write(tmp_path / "set") / "meta"
    (meta / "info.json").write_text((meta / "info.json").read_text().replace("v2.1", "v3.0"))
    (meta / "episodes" / "chunk-000").mkdir(parents=True)
    pq.write_table(pa.table({"episode_index": [0, 1]}), meta / "episodes" / "chunk-000" / "file-000.parquet")
    with pytest.raises(InputError, match=r"a LeRobotDataset v3.0, got one that does not fit \(KeyError: 'videos/"):
        read(bags, tmp_path / "set")


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("timestamp", [0, 0.1, float("nan"), 0.3], "row 3 of episode 0: timestamp: expected a finite number, got nan"),
        ("timestamp", [0, 0.1, None, 0.3], "row 3 of episode 0: timestamp: expected a finite number, got nan"),
        ("observation.state", [[1.0, 2.0], [1.0], [1.0, 2.0], [1.0, 2.0]], "as many in each observation.state"),
        ("episode_index", [7] * 4, "expected rows of episode 0, got none"),
    ],
)
def test_rows_without_numbers_are_refused(
    bags: ModuleType, tmp_path: Path, column: str, values: list[Any], message: str
) -> None:
    file = write(tmp_path / "set") / "data/chunk-000/episode_000000.parquet"
    rows = pq.read_table(file)
    pq.write_table(rows.set_column(rows.schema.get_field_index(column), column, pa.array(values)), file)
    with pytest.raises(InputError, match=message):
        read(bags, tmp_path / "set")
