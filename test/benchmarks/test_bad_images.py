from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sensor_msgs", reason="ROS 2 is needed: an installation, or the `ros-wheels` extra")

import bad_images

from taskgan_ros.core.errors import InputError
from taskgan_ros.vision.compressed import read_compressed
from taskgan_ros.vision.images import read_image

DRAWS = 30


@pytest.mark.parametrize("fault", bad_images.RAW)
def test_every_bad_image_is_refused(fault: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(DRAWS):
        message = bad_images.RAW[fault](rng)
        with pytest.raises(InputError):
            read_image(
                message.encoding,
                message.height,
                message.width,
                message.step,
                message.data,
                bool(message.is_bigendian),
            )


@pytest.mark.parametrize("fault", bad_images.COMPRESSED)
def test_every_bad_compressed_image_is_refused(fault: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(DRAWS):
        message = bad_images.COMPRESSED[fault](rng)
        with pytest.raises(InputError):
            read_compressed(message.format, message.data)
