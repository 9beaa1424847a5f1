from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError
from taskgan_ros.policy.bundle import (
    JOINT_POS,
    POLICY,
    TASK_MODEL,
    TRANSLATOR,
    ActionChunk,
    Bundle,
    BundleCard,
    load_bundle,
    write_bundle,
)
from taskgan_ros.policy.policy import CPU, Policy

Images = NDArray[np.uint8]

OTHER = "AzureExecutionProvider"  # onnxruntime's wheels have it; it computes on the CPU
MISSING = next(name for name in ort.get_all_providers() if name not in ort.get_available_providers())
WEIGHTS = np.array([[0.5, -0.25], [0.125, 1.0], [-1.0, 0.75]])  # conftest.py's graphs


@pytest.fixture(params=["one graph", "two graphs"])
def bundle_dir(request: pytest.FixtureRequest, tmp_path: Path, card: BundleCard, graphs: dict[str, bytes]) -> Path:
    """Return the folder of a bundle with and without the graph that is the two others in a row."""
    files = {name: data for name, data in graphs.items() if name != POLICY or request.param == "one graph"}
    return write_bundle(tmp_path / "tiny", card, files, "# Tiny\n").path


def remove_graphs(bundle_dir: Path) -> None:
    for path in bundle_dir.glob("*.onnx"):
        path.unlink()


def commands_of(images: Images) -> NDArray[np.float64]:
    """Return what the tiny f_X makes of images, (N, 1, 2): a linear map of the mean colour."""
    return np.asarray(images.mean(axis=(1, 2)) @ WEIGHTS)[:, None]


def test_act_equals_the_graphs_computed_by_numpy(bundle_dir: Path, images: Images) -> None:
    prediction = Policy(load_bundle(bundle_dir)).act(images, want_translated=True)
    assert prediction.translated is not None
    assert prediction.translated.dtype == np.uint8
    np.testing.assert_array_equal(prediction.translated, 255 - images)
    assert prediction.commands.dtype == np.float64
    np.testing.assert_allclose(prediction.commands, commands_of(255 - images), rtol=1e-5)


def test_the_task_model_alone_sees_the_raw_image(bundle_dir: Path, images: Images) -> None:
    prediction = Policy(load_bundle(bundle_dir), translate=False).act(images)
    np.testing.assert_allclose(prediction.commands, commands_of(images), rtol=1e-5)
    assert prediction.translated is None


def test_one_image_of_a_batch_does_not_change_another(bundle_dir: Path, images: Images) -> None:
    policy = Policy(load_bundle(bundle_dir))
    one_by_one = np.concatenate([policy.act(image[None]).commands for image in images])
    np.testing.assert_allclose(policy.act(images).commands, one_by_one, rtol=1e-6)


def test_a_view_with_swapped_channels_is_read_as_what_it_shows(bundle_dir: Path, images: Images) -> None:
    swapped = images[..., ::-1]  # how a bgr8 message becomes RGB: negative strides, no copy
    prediction = Policy(load_bundle(bundle_dir)).act(swapped)
    np.testing.assert_allclose(prediction.commands, commands_of(255 - swapped), rtol=1e-5)


def test_a_network_that_fails_is_not_hidden(
    tmp_path: Path, card: BundleCard, graphs: dict[str, bytes], graph: Callable[..., bytes], images: Images
) -> None:
    bundle = write_bundle(tmp_path / "nan", card, {**graphs, POLICY: graph(scale="nan")}, "")
    policy = Policy(bundle)
    assert np.isnan(policy.act(images).commands).all()
    with pytest.raises(
        InputError, match=r"tiny: expected weights and .* finite on CPU.*, got the command \[\[nan, nan\]\]"
    ):
        policy.warm_up()


def test_a_translation_that_bytes_would_hide_is_not(
    tmp_path: Path, card: BundleCard, graphs: dict[str, bytes], graph: Callable[..., bytes], images: Images
) -> None:
    of_nan = {POLICY: graph(white="nan"), TRANSLATOR: graph(white="nan", outputs="uint8[N, 6, 8, 3] translated")}
    for name in of_nan:  # one graph, then two
        files = {**graphs, **of_nan} if name == POLICY else {**graphs, **of_nan, POLICY: b""}
        bundle = write_bundle(tmp_path / name, card, {key: data for key, data in files.items() if data}, "")
        prediction = Policy(bundle).act(images, want_translated=True)
        assert np.isnan(prediction.commands).all()  # although f_X took the bytes, which are what the cast made of NaN


def test_sound_networks_warm_up(bundle_dir: Path) -> None:
    for translate in (True, False):
        Policy(load_bundle(bundle_dir), translate=translate).warm_up()


@pytest.mark.parametrize(
    ("bad", "got"),
    [
        (np.zeros((1, 6, 8, 3), np.float32), "float32 [1, 6, 8, 3]"),
        (np.zeros((6, 8, 3), np.uint8), "uint8 [6, 8, 3]"),
        (np.zeros((1, 8, 6, 3), np.uint8), "uint8 [1, 8, 6, 3]"),
        (np.zeros((1, 6, 8, 4), np.uint8), "uint8 [1, 6, 8, 4]"),
        (np.zeros((0, 6, 8, 3), np.uint8), "uint8 [0, 6, 8, 3]"),
        ([[1, 2], [3, 4]], "list"),
    ],
)
def test_images_that_do_not_fit_are_refused(bundle_dir: Path, bad: Any, got: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"images: expected uint8 [N, 6, 8, 3] with N >= 1, got {got}")):
        Policy(load_bundle(bundle_dir)).act(bad)


def test_a_translation_is_refused_where_there_is_no_translator(bundle_dir: Path, images: Images) -> None:
    with pytest.raises(InputError, match="expected a policy with a translator, got one without"):
        Policy(load_bundle(bundle_dir), translate=False).act(images, want_translated=True)


def test_a_provider_that_is_not_there_is_refused_and_not_replaced(bundle_dir: Path) -> None:
    providers = ("TensorrtExecutionProvider", "CPUExecutionProvider")
    with pytest.raises(InputError, match=r"providers: expected some of \[.*'CPUExecutionProvider'\], got \['Tensorrt"):
        Policy(load_bundle(bundle_dir), providers=providers)


def test_where_a_fallback_is_allowed_it_says_why(bundle_dir: Path, images: Images) -> None:
    asked = (MISSING, CPU)
    policy = Policy(load_bundle(bundle_dir), asked, allow_fallback=True)
    assert policy.providers == (CPU,)
    assert list(policy.fallen_back) == [MISSING]
    assert f"got ['{MISSING}']" in policy.fallen_back[MISSING]
    np.testing.assert_allclose(policy.act(images).commands, commands_of(255 - images), rtol=1e-5)


def test_a_fallback_keeps_the_providers_that_start(bundle_dir: Path) -> None:
    policy = Policy(load_bundle(bundle_dir), (MISSING, OTHER), allow_fallback=True)
    assert policy.providers == (OTHER, CPU)  # onnxruntime adds the CPU
    assert list(policy.fallen_back) == [MISSING]


def test_a_fallback_that_was_not_needed_is_none(bundle_dir: Path) -> None:
    assert not Policy(load_bundle(bundle_dir), allow_fallback=True).fallen_back


def test_a_fallback_hides_no_other_fault(bundle_dir: Path) -> None:
    bundle = load_bundle(bundle_dir)
    with pytest.raises(InputError, match="providers: expected some of"):
        Policy(bundle, (), allow_fallback=True)
    with pytest.raises(InputError, match="threads: expected at least 1"):
        Policy(bundle, (MISSING, CPU), threads=0, allow_fallback=True)
    remove_graphs(bundle_dir)
    with pytest.raises(InputError, match=r"(policy|translator)\.onnx: expected it to load with \['CPU"):
        Policy(bundle, (MISSING, CPU), allow_fallback=True)


def test_the_options_of_a_provider_reach_onnxruntime(bundle_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, start = load_bundle(bundle_dir), ort.InferenceSession
    given: list[dict[str, Any]] = []

    def note_and_start(*args: Any, **named: Any) -> Any:  # the providers that tell their options need hardware
        given.append(named)
        return start(*args, **named)

    monkeypatch.setattr(ort, "InferenceSession", note_and_start)
    options = (f"{CPU}.use_arena=0", f"{OTHER}.path=/a.b=c", f"{CPU}.other=two words")
    Policy(bundle, (OTHER, CPU), provider_options=options)
    assert given
    for named in given:
        assert named["providers"] == [OTHER, CPU]
        assert named["provider_options"] == [{"path": "/a.b=c"}, {"use_arena": "0", "other": "two words"}]


@pytest.mark.parametrize("bad", ["trt_fp16_enable=1", f"{CPU}.use_arena", f"{CPU}.=1", f"{CPU}.use_arena=", ""])
def test_an_option_of_another_form_is_refused(bundle_dir: Path, bad: str) -> None:
    with pytest.raises(InputError, match=f"expected provider.option=value, got {bad!r}"):
        Policy(load_bundle(bundle_dir), provider_options=[bad])


def test_an_option_of_a_provider_that_is_not_asked_for_is_refused(bundle_dir: Path) -> None:
    with pytest.raises(InputError, match=rf"expected options of \['{CPU}'\], got '{MISSING}.device_id=1'"):
        Policy(load_bundle(bundle_dir), provider_options=[f"{MISSING}.device_id=1"], allow_fallback=True)


def test_a_file_that_is_gone_since_it_was_verified_is_refused(bundle_dir: Path) -> None:
    bundle = load_bundle(bundle_dir)
    remove_graphs(bundle_dir)
    with pytest.raises(InputError, match=r"(policy|translator)\.onnx: expected it to load with \['CPU.*doesn't exist"):
        Policy(bundle)


@pytest.mark.parametrize("threads", [0, -1])
def test_a_thread_count_below_one_is_refused(bundle_dir: Path, threads: int) -> None:
    with pytest.raises(InputError, match=f"threads: expected at least 1, .* got {threads}"):
        Policy(load_bundle(bundle_dir), threads=threads)


def test_bound_to_another_provider_it_says_the_same(bundle_dir: Path, images: Images) -> None:
    bundle, swapped = load_bundle(bundle_dir), images[..., ::-1]  # which a binding takes no more as it is
    expected = Policy(bundle).act(swapped, want_translated=True)
    bound = Policy(bundle, (OTHER, CPU)).act(swapped, want_translated=True)
    np.testing.assert_array_equal(bound.commands, expected.commands)
    np.testing.assert_array_equal(bound.translated, expected.translated)
    assert Policy(bundle, (OTHER, CPU)).act(images).translated is None


@pytest.mark.parametrize("providers", [(CPU,), (OTHER, CPU)])
def test_several_threads_may_ask_one_policy(bundle_dir: Path, images: Images, providers: tuple[str, ...]) -> None:
    policy = Policy(load_bundle(bundle_dir), providers, threads=1)
    expected = policy.act(images).commands
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda _: policy.act(images).commands, range(100))
    assert all(np.array_equal(answer, expected) for answer in answers)


def test_a_robots_computer_needs_neither_torch_nor_onnx_nor_ros(bundle_dir: Path) -> None:
    code = (
        "import sys; from taskgan_ros.policy.bundle import load_bundle;"
        "from taskgan_ros.policy.policy import Policy;"
        f"Policy(load_bundle({str(bundle_dir)!r}));"
        "import taskgan_ros.control.supervisor, taskgan_ros.control.trajectory;"
        "print(sorted({'torch', 'onnx', 'rclpy', 'mujoco', 'h5py'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# A task model that looks at two joints too, and gives three steps at once: the k-th is k times joint_pos.
SEEING = """
<ir_version: 8, opset_import: ["" : 18]>
seeing (uint8[N, 6, 8, 3] image, float[N, 3] joint_pos) => (float[N, 3, 2] command) {
    pixels = Cast<to = 1>(image)
    axes = Constant<value = int64[3] {1, 2, 3}>()
    mean = ReduceMean<keepdims = 1>(pixels, axes)
    start = Constant<value = int64[1] {0}>()
    end = Constant<value = int64[1] {2}>()
    column = Constant<value = int64[1] {1}>()
    two = Slice(joint_pos, start, end, column)
    row = Unsqueeze(two, column)
    step = Constant<value = float[1, 3, 1] {0.0, 1.0, 2.0}>()
    steps = Mul(row, step)
    last = Constant<value = int64[1] {3}>()
    level = Squeeze(mean, last)
    command = Add(steps, level)
}
"""
OBSERVED = ("m1n6s200_joint_5", "m1n6s200_joint_1", "m1n6s200_joint_2")  # neither the driven ones nor in their order


@pytest.fixture
def seeing(tmp_path: Path, card: BundleCard, graphs: dict[str, bytes]) -> Bundle:
    onnx = pytest.importorskip("onnx", reason="the `training` extra is needed to make ONNX graphs")
    from taskgan_ros.training.finite_check import add_finite_check

    data = add_finite_check(onnx.parser.parse_model(SEEING)).SerializeToString()
    card = dataclasses.replace(
        card,
        observes=("image", JOINT_POS),
        observed_joints=OBSERVED,
        chunk=ActionChunk(length=3, step_s=0.1),
    )
    return write_bundle(tmp_path / "seeing", card, {TRANSLATOR: graphs[TRANSLATOR], TASK_MODEL: data}, "")


@pytest.mark.parametrize("translate", [True, False])
def test_a_task_model_sees_the_joints_it_names_and_gives_its_chunk(
    seeing: Bundle, images: Images, translate: bool
) -> None:
    joint_pos = np.arange(18.0).reshape(3, 6)  # all of the arm's
    policy = Policy(seeing, translate=translate)
    policy.warm_up()
    prediction = policy.act(images, joint_pos)
    shown = 255 - images if translate else images
    expected = shown.mean(axis=(1, 2, 3))[:, None, None] + np.arange(3)[:, None] * joint_pos[:, None, [4, 0]]
    assert prediction.commands.shape == (3, 3, 2)
    np.testing.assert_allclose(prediction.commands, expected, rtol=1e-5)
    assert prediction.step_s == 0.1


def test_one_command_is_a_chunk_of_one_without_a_time_of_its_own(bundle_dir: Path, images: Images) -> None:
    policy = Policy(load_bundle(bundle_dir))
    assert not policy.takes_joint_pos
    assert policy.act(images).commands.shape == (3, 1, 2)
    assert policy.act(images).step_s is None


@pytest.mark.parametrize(
    ("bad", "got"),
    [
        (None, "NoneType"),
        (np.zeros((2, 6)), "float64 [2, 6]"),
        (np.zeros((3, 3)), "float64 [3, 3]"),
        (np.zeros(6), "float64 [6]"),
        (np.zeros((3, 6), int), "int64 [3, 6]"),
        ([[0.0] * 6] * 3, "list"),
    ],
)
def test_joint_positions_that_do_not_fit_are_refused(seeing: Bundle, images: Images, bad: Any, got: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"joint_pos: expected float [3, 6], got {got}")):
        Policy(seeing).act(images, bad)


def test_a_bundle_without_a_translator_shows_the_image_to_the_task_model(
    tmp_path: Path, card: BundleCard, graphs: dict[str, bytes], images: Images
) -> None:
    policy = Policy(write_bundle(tmp_path / "alone", card, {TASK_MODEL: graphs[TASK_MODEL]}, ""))
    assert not policy.translate
    np.testing.assert_allclose(policy.act(images).commands, commands_of(images), rtol=1e-5)
