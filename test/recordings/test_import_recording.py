from __future__ import annotations

import csv
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from taskgan_ros import cli
from taskgan_ros.core.errors import InputError
from taskgan_ros.data.dataset import load_dataset
from taskgan_ros.recordings.episodes import cut, split_at_rests
from taskgan_ros.recordings.export_dataset import ExportDatasetConfig, export_dataset
from taskgan_ros.recordings.import_recording import ImportConfig, import_recording
from taskgan_ros.recordings.labels import demonstration_labels
from taskgan_ros.recordings.read_options import ReadOptions
from taskgan_ros.robot.kinematics import tip_position
from taskgan_ros.sim.cell import Cell
from taskgan_ros.sim.domain import load_domain
from taskgan_ros.tasks.reach import ReachScene
from taskgan_ros.tasks.registry import load_scene, load_scene_of
from taskgan_ros.tasks.state import CellState

SCENE, SIZE, PERIOD_S, MOVES = "reach", 32, 0.1, 12
Floats = NDArray[np.float64]


def expert(scene: ReachScene, index: int) -> tuple[list[Floats], Floats]:
    """Return the expert's joint positions on its way, and the target's place (3,)."""
    episode = scene.sample_start(3, index)
    return [state.joint_pos for state in scene.path(episode)][:MOVES], episode.state.objects[0]


@pytest.fixture(scope="module")
def scene() -> ReachScene:
    return load_scene_of(ReachScene, SCENE)


@pytest.fixture(scope="module")
def filmed(scene: ReachScene) -> list[tuple[Floats, Floats, NDArray[np.uint8]]]:
    """Two motions of the expert, each with a rest of 2 s at its end: (q, target's place, image) of each moment."""
    moments = []
    with Cell(scene, load_domain("target_wood"), (60, 80)) as cell:
        look = cell.sample_look(0, 0)
        for index in range(2):
            path, target = expert(scene, index)
            images = [cell.render(CellState(q, target[None]), look) for q in path]
            moments += [(q, target, image) for q, image in zip(path, images, strict=True)]
            moments += [(path[-1], target, np.bitwise_xor(images[-1], np.uint8(1 - k % 2))) for k in range(20)]
    return moments


@pytest.fixture(scope="module")
def table(filmed: Any, scene: ReachScene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images with their CSV, in rad."""
    folder = tmp_path_factory.mktemp("filmed")
    with (folder / "labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "stamp", *scene.arm.joint_names])
        for k, (q, _, image) in enumerate(filmed):
            Image.fromarray(image).save(folder / f"{k}.png")
            rows.writerow([f"{k}.png", round(PERIOD_S * k, 3), *q.tolist()])
    return folder


def make(table: Path, out: Path, **options: Any) -> dict[str, Any]:
    camera_fov = load_scene(SCENE).camera.fov
    reading = ReadOptions(**{"units": "radians", "camera_fov": camera_fov, **options.pop("reading", {})})
    given = {"scene": SCENE, "image_size": SIZE, **options}
    return import_recording(ImportConfig(recordings=(table,), out=out, recording=reading, **given))


def test_demonstrations_are_split_at_rests_and_labelled_with_the_step_taken(
    table: Path, filmed: Any, scene: ReachScene, tmp_path: Path
) -> None:
    said = make(table, tmp_path / "mine.h5")
    data = load_dataset(tmp_path / "mine.h5")
    assert f"{64 - len(data)} images of a resting arm are in no episode" in said["lines"]
    assert (data.info.task, data.info.domain, data.info.episodes) == ("joint_velocities", "mine", 2)
    rows = data.episode == 0
    q = np.array([one[0] for one in filmed[: rows.sum()]])
    np.testing.assert_allclose(data.joint_pos[rows], q, atol=1e-6)
    tips = np.array([tip_position(scene.arm, one) for one in q])
    sizes = np.abs(data.actions[rows]).sum(axis=1)
    expected = np.linalg.norm(tips - tips[-1], axis=1) * scene.approach_gain
    np.testing.assert_allclose(sizes, expected, atol=1e-5)
    assert rows.sum() == MOVES + 5  # half a second of having arrived
    assert (data.actions[rows][-5:] == 0).all()
    # The expert goes straight in joint space, so that each step has the direction of the way to the end.
    steps = (q[MOVES - 1] - q[0])[scene.driven]
    np.testing.assert_allclose(data.actions[rows][0] / sizes[0], steps / np.abs(steps).sum(), atol=1e-5)


def test_a_lower_rate_thins_the_images_and_not_the_motions(table: Path, filmed: Any, tmp_path: Path) -> None:
    make(table, tmp_path / "all.h5")
    make(table, tmp_path / "few.h5", reading={"rate": 1.5})
    every, few = load_dataset(tmp_path / "all.h5"), load_dataset(tmp_path / "few.h5")
    assert len(few) < len(every) / 5
    assert few.info.episodes == every.info.episodes == 2
    for k, q in enumerate(few.joint_pos):
        (same,) = np.flatnonzero((every.joint_pos == q).all(axis=1) & (every.episode == few.episode[k]))[:1]
        np.testing.assert_allclose(few.actions[k], every.actions[same], atol=1e-6)


def test_a_narrow_scene_is_said_to_cut_the_picture(table: Path, tmp_path: Path) -> None:
    said = make(table, tmp_path / "whole.h5")
    assert not any("is kept" in line for line in said["lines"])
    wide = 2 * np.arctan(2 * np.tan(load_scene(SCENE).camera.fov / 2))
    said = make(table, tmp_path / "cut.h5", reading={"camera_fov": wide})
    assert any(line.startswith("the middle 50% of the largest square is kept") for line in said["lines"])


def test_labels_towards_a_goal_are_the_simulations(table: Path, filmed: Any, scene: ReachScene, tmp_path: Path) -> None:
    places = tmp_path / "places.csv"
    rows = [f"{k},{filmed[k * 32][1][0]},{filmed[k * 32][1][1]}" for k in range(2)]
    places.write_text("\n".join(["episode,x,y", *rows]))
    arguments = ["--units", "radians", "--camera-fov", str(scene.camera.fov), "--goal-file", str(places)]
    out, summary = tmp_path / "goal.h5", tmp_path / "goal.json"
    more = ["--split", "rests", "--paired", "source", "--image-size", str(SIZE), "--json", str(summary)]
    assert cli.run(["import", str(table), "--scene", SCENE, "--out", str(out), *arguments, *more]) == 0
    data = load_dataset(out)
    for k in range(len(data)):
        place = filmed[32 * int(data.episode[k])][1][:2]
        expected = scene.recorded_velocities(data.joint_pos[k].astype(float), place)
        np.testing.assert_allclose(data.actions[k], expected, atol=1e-5)
    goals = tmp_path / "joint_goals.h5"
    given = ["import", str(table), "--scene", SCENE, "--out", str(goals), *arguments, "--labels", "joint_goals"]
    assert cli.run([*given, "--split", "rests"]) == 0
    at_goal = load_dataset(goals)
    for k in range(len(at_goal)):
        place = filmed[32 * int(at_goal.episode[k])][1][:2]
        assert scene.place_of(at_goal.actions[k]) == pytest.approx(place, abs=1e-4)
    assert data.info.paired_domain == "source"
    assert data.paired is not None
    with Cell(scene, load_domain("source"), SIZE) as cell:
        target = np.array([[*filmed[0][1][:2], 0.0]])
        plain = cell.render(CellState(filmed[3][0], target), cell.sample_look(0, 0))
    np.testing.assert_array_equal(data.paired[3], plain)
    assert json.loads(summary.read_text())["images"] == len(data)


def test_images_are_cropped_as_the_node_crops_them(table: Path, filmed: Any, tmp_path: Path) -> None:
    from taskgan_ros.vision.images import RawImage

    make(table, tmp_path / "all.h5", split="file", labels="joint_angles")
    data = load_dataset(tmp_path / "all.h5")
    assert (data.info.task, data.info.units, len(data)) == ("joint_angles", "rad", len(filmed))
    np.testing.assert_array_equal(data.images[5], RawImage(filmed[5][2], "rgb8").to_rgb(SIZE, SIZE))
    np.testing.assert_allclose(data.actions, data.joint_pos[:, load_scene(SCENE).driven])


def test_beside_the_dataset_come_pictures(table: Path, tmp_path: Path) -> None:
    make(table, tmp_path / "some.h5", split="file", longest_episode=10)
    for name in ("some_images.png", "some_joints.png"):
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > SIZE
    assert load_dataset(tmp_path / "some.h5").info.episodes == 7
    assert {path.name for path in tmp_path.iterdir()} == {"some.h5", "some_images.png", "some_joints.png"}


def test_a_dataset_says_which_recording_it_is_of(table: Path, tmp_path: Path) -> None:
    make(table, tmp_path / "one.h5")
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in table.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    make(copy, tmp_path / "two.h5")
    (copy / "0.png").write_bytes((copy / "1.png").read_bytes())
    make(copy, tmp_path / "three.h5")
    found = [load_dataset(tmp_path / f"{name}.h5").info.recording.split() for name in ("one", "two", "three")]
    assert found[0][1] == found[1][1] != found[2][1]
    assert found[1][0] == "copy"
    with h5py.File(tmp_path / "one.h5", "r+") as file:  # as a dataset of before has it
        del file["data"].attrs["recording"]
    assert load_dataset(tmp_path / "one.h5").info.recording == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": "goal"}, "--labels goal: expected --goal, --goal-file, --goal-topic or --goal-frame, got none"),
        ({"labels": "joint_goals"}, "--labels joint_goals: expected --goal, --goal-file, --goal-topic or --goal-frame"),
        ({"paired": "source"}, "--paired: expected the target's place, which the plain render shows"),
        ({"image_size": 30}, "expected an image_size of 24 pixels or more that is a multiple of 8"),
        ({"rest": 1.0, "reading": {"skip_start": 1.5, "skip": ((3.0, 9.0),)}}, "expected an arm that moves, got none"),
        ({"scene": "poses", "labels": "demonstration"}, "expected a scene with an approach_gain"),
        ({"rest": -1.0}, "--rest: expected 0 s or more, got -1.0"),
        ({"rest": float("nan")}, "--rest: expected 0 s or more, got nan"),
    ],
)
def test_what_does_not_fit_leaves_nothing(table: Path, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(table, tmp_path / "x.h5", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["x.h5", "../{folder}/x.h5", "x_images.png", "x_joints.png"])
def test_outputs_that_collide_are_refused_first(tmp_path: Path, name: str) -> None:
    json_path = tmp_path / name.format(folder=tmp_path.name)
    with pytest.raises(InputError, match=r"expected outputs that differ, got .* twice"):
        make(tmp_path / "not read", tmp_path / "x.h5", json=json_path)
    assert not list(tmp_path.iterdir())


def test_a_file_in_a_folders_place_is_refused_first(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out, json_path in (("file/x.h5", "x.json"), ("x.h5", "file/more/x.json")):
        with pytest.raises(InputError, match=r"expected a folder at .*/file, got a file"):
            make(tmp_path / "not read", tmp_path / out, json=tmp_path / json_path)


def test_what_is_printed_goes_to_a_home(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    make(table, tmp_path / "x.h5", split="file", json=Path("~/new/x.json"))
    assert json.loads((tmp_path / "new" / "x.json").read_text())["images"] == 64


def test_an_arm_that_seems_still_is_explained(table: Path, tmp_path: Path) -> None:
    folder = tmp_path / "nanoseconds"
    folder.mkdir()
    rows = list(csv.DictReader((table / "labels.csv").open()))[:20]
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(
            {**row, "image": table / row["image"], "stamp": 1.7e18 + 1e8 * k} for k, row in enumerate(rows)
        )
    with pytest.raises(
        InputError, match=r"got none that does .* of 20 images taken; .*looks like ns.*: --split file takes all"
    ):
        make(folder, tmp_path / "x.h5")


def test_a_camera_that_nobody_described_is_refused(table: Path, tmp_path: Path) -> None:
    config = ImportConfig(
        recordings=(table,), scene=SCENE, out=tmp_path / "x.h5", recording=ReadOptions(units="radians")
    )
    with pytest.raises(InputError, match="expected a camera_info with the images, got none: --camera-info FILE"):
        import_recording(config)
    narrow = ReadOptions(units="radians", camera_fov=0.3)
    with pytest.raises(InputError, match=r"expected to see at least .* rad vertically, as the scene has it"):
        import_recording(ImportConfig(recordings=(table,), scene=SCENE, out=tmp_path / "x.h5", recording=narrow))
    assert not list(tmp_path.iterdir())


def test_goals_from_topics_and_tf(bags: ModuleType, scene: ReachScene, tmp_path: Path) -> None:
    from taskgan_ros.recordings.goals import GoalOptions, target_places

    types = bags.ROS_2.types
    point, turn = types["geometry_msgs/msg/Point"], types["geometry_msgs/msg/Quaternion"]
    still = turn(x=0.0, y=0.0, z=0.0, w=1.0)
    pose = types["geometry_msgs/msg/Pose"](position=point(x=0.3, y=0.1, z=0.0), orientation=still)
    stamped = types["geometry_msgs/msg/PoseStamped"](header=bags.header(1000.2), pose=pose)

    def link(parent: str, child: str, x: float, y: float, yaw: float = 0.0) -> Any:
        head = bags.header(1000.1)
        head.frame_id = parent
        translation = types["geometry_msgs/msg/Vector3"](x=x, y=y, z=0.0)
        rotation = turn(x=0.0, y=0.0, z=float(np.sin(yaw / 2)), w=float(np.cos(yaw / 2)))
        transform = types["geometry_msgs/msg/Transform"](translation=translation, rotation=rotation)
        return types["geometry_msgs/msg/TransformStamped"](header=head, child_frame_id=child, transform=transform)

    links = [link("world", "base_link", 1, 0, np.pi / 2), link("world", "tag", 1, 0.5), link("tag", "cube", 0.2, 0)]
    tree = types["tf2_msgs/msg/TFMessage"](transforms=links)
    messages = [
        *bags.motion(),
        bags.Message("/cube_pose", "geometry_msgs/msg/PoseStamped", 1000.2, stamped),
        bags.Message("/tf_static", "tf2_msgs/msg/TFMessage", 1000.1, tree),
    ]
    path = bags.write_bag_2(tmp_path / "bag", sorted(messages, key=lambda one: one.received_s))
    stamps, episode = np.array([1000.0, 1000.5]), np.zeros(2, np.intp)
    found = target_places(GoalOptions(goal_topic="/cube_pose"), [path], stamps, episode)
    np.testing.assert_allclose(found, [[0.3, 0.1]] * 2)
    found = target_places(GoalOptions(goal_frame="cube"), [path], stamps, episode)
    np.testing.assert_allclose(found, [[0.5, -0.2]] * 2, atol=1e-9)
    with pytest.raises(InputError, match=r"--goal-topic of \['/cube_pose'\], of .*, got '/x'"):
        target_places(GoalOptions(goal_topic="/x"), [path], stamps, episode)
    with pytest.raises(InputError, match="expected places of the target by cup in base_link, got none"):
        target_places(GoalOptions(goal_frame="cup"), [path], stamps, episode)


def test_goals_are_of_the_clock_and_the_frame_that_the_options_name(bags: ModuleType, tmp_path: Path) -> None:
    from taskgan_ros.recordings.goals import GoalOptions, target_places

    types: Any = bags.ROS_2.types
    messages: list[Any] = bags.motion()
    for k in range(2):  # the header's clock is far from the recorder's
        head = bags.header(5.0 + k)
        head.frame_id = "stand"
        point = types["geometry_msgs/msg/Point"](x=0.1 * k, y=0.0, z=0.0)
        turn = types["geometry_msgs/msg/Quaternion"](x=0.0, y=0.0, z=0.0, w=1.0)
        pose = types["geometry_msgs/msg/Pose"](position=point, orientation=turn)
        value = types["geometry_msgs/msg/PoseStamped"](header=head, pose=pose)
        messages.append(bags.Message("/goal", "geometry_msgs/msg/PoseStamped", 1000.0 + 0.5 * k, value))
    path = bags.write_bag_2(tmp_path / "bag", sorted(messages, key=lambda one: one.received_s))
    stamps, episode = np.array([1000.1, 1000.9]), np.zeros(2, np.intp)
    options = GoalOptions(goal_topic="/goal", base_frame="/stand")
    found = target_places(options, [path], stamps, episode, received=True)
    assert found.tolist() == [[0, 0], [0.1, 0]]
    assert target_places(options, [path], stamps - 995, episode).tolist() == [[0, 0], [0, 0]]
    with pytest.raises(InputError, match="/goal: expected poses in --base-frame 'base_link', got some in 'stand'"):
        target_places(GoalOptions(goal_topic="/goal"), [path], stamps, episode)
    messages[-1].value.pose.position.x = np.nan
    path = bags.write_bag_2(tmp_path / "nan", sorted(messages, key=lambda one: one.received_s))
    with pytest.raises(InputError, match=r"expected finite places of the target, got \(nan, 0\) m at 6.000 s"):
        target_places(options, [path], stamps, episode)


def test_joints_that_stand_elsewhere_than_the_scene_says_are_named(table: Path, tmp_path: Path) -> None:
    names = load_scene(SCENE).arm.joint_names
    swapped = (*names[:3], names[4], names[3], names[5])
    said = make(table, tmp_path / "x.h5", split="file", reading={"joint_names": swapped})
    assert any("which the scene does not drive, are up to 2.5 rad from its `ready`" in line for line in said["lines"])


# Episodes and labels by themselves


def test_short_rests_and_noise_end_no_episode() -> None:
    q = np.concatenate([np.linspace(0, 1, 11), np.full(6, 1.0), np.linspace(1, 2, 11), np.full(30, 2.0), [2.2, 2.4]])
    q += np.random.default_rng(0).uniform(-2e-4, 2e-4, len(q))
    stamps = np.linspace(0, 0.1 * len(q), len(q), endpoint=False)
    source = np.zeros(len(q), np.intp)
    first, second = split_at_rests(stamps, q[:, None], source, rest_s=1.0)
    assert (first[0], first[-1]) == (0, 27 + 5)
    assert (second[0], second[-1]) == (57, 59)
    halves = split_at_rests(stamps, q[:, None], source, rest_s=0.4)
    assert [(rows[0], rows[-1]) for rows in halves] == [(0, 15), (17, 32), (57, 59)]
    assert [len(rows) for rows in cut([np.arange(25)], 10, np.arange(25))] == [9, 8, 8]
    assert [rows.tolist() for rows in cut([np.arange(7)], 1, np.array([2, 5]))] == [[0, 1, 2, 3, 4], [5, 6]]


def test_an_arm_that_rests_on_its_way_is_labelled_with_where_it_goes_next(scene: ReachScene) -> None:
    path, _ = expert(scene, 0)
    waiting = np.array([path[0], path[0], path[0], path[4], path[8]])
    labels = demonstration_labels(scene, waiting)
    np.testing.assert_allclose(labels[0], labels[2])
    assert np.abs(labels[0]).sum() > 0.01
    assert (labels[-1] == 0).all()


# And out again


@pytest.mark.parametrize("fps", [10.0, 12.5])
def test_an_exported_dataset_comes_back(table: Path, filmed: Any, tmp_path: Path, fps: float) -> None:
    make(table, tmp_path / "mine.h5", image_size=64)
    export_dataset(ExportDatasetConfig(dataset=tmp_path / "mine.h5", out=tmp_path / "lerobot", fps=fps))
    make(tmp_path / "lerobot", tmp_path / "back.h5", split="file", image_size=64, reading={"repeated": True})
    before, after = (load_dataset(tmp_path / f"{name}.h5") for name in ("mine", "back"))
    np.testing.assert_array_equal(before.joint_pos, after.joint_pos)
    np.testing.assert_array_equal(before.episode, after.episode)
    assert np.abs(before.images.astype(int) - after.images).mean() < 6  # x264's, and its halved colours
    one = tmp_path / "one.h5"
    make(tmp_path / "lerobot", one, split="file", image_size=64, reading={"repeated": True, "episodes": (1,)})
    np.testing.assert_array_equal(load_dataset(one).images, after.images[after.episode == 1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(({"fps": fps}, f"--fps: expected a rate of 0.001 to 1000, got {fps}") for fps in (0, -1.0, 1e-9, 1001.0)),
        *(({"fps": float(fps)}, f"--fps: expected a rate of 0.001 to 1000, got {fps}") for fps in ("nan", "inf")),
        ({"instruction": "to the \udcff cup"}, "--instruction: expected text in UTF-8"),
        ({"out": Path("file/out")}, "expected a folder at .*file, got a file"),
    ],
)
def test_an_export_that_cannot_be_is_refused_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(InputError, match=message):
        export_dataset(ExportDatasetConfig(**{"dataset": Path("not read"), "out": Path("out"), **options}))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_export_touches_nothing_beside_it(table: Path, tmp_path: Path) -> None:
    make(table, tmp_path / "mine.h5")
    mine = tmp_path / ".set.partial" / "mine"
    mine.parent.mkdir()
    mine.touch()
    before = {*tmp_path.iterdir()}
    export_dataset(ExportDatasetConfig(dataset=tmp_path / "mine.h5", out=tmp_path / "set"))
    assert mine.exists()
    assert {*tmp_path.iterdir()} - before == {tmp_path / "set"}
    assert (tmp_path / "set").stat().st_mode == mine.parent.stat().st_mode


def test_an_incomplete_download_offers_what_is_there(table: Path, tmp_path: Path) -> None:
    make(table, tmp_path / "mine.h5")
    out = tmp_path / "lerobot"
    export_dataset(ExportDatasetConfig(dataset=tmp_path / "mine.h5", out=out))
    (video,) = out.rglob("*.mp4")
    video.unlink()
    with pytest.raises(InputError, match="expected the files of 2 episodes, got those of 0, an incomplete download"):
        make(out, tmp_path / "back.h5")
    with pytest.raises(InputError, match="exists already"):
        export_dataset(ExportDatasetConfig(dataset=tmp_path / "mine.h5", out=out))
