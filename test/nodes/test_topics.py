from __future__ import annotations

import pytest

from taskgan_ros.core.errors import InputError
from taskgan_ros.nodes.topics import check_name


@pytest.mark.parametrize("name", ["image_raw", "/camera/image_raw", "~/image", "camera/{node}/info", "_x/y2"])
def test_names_of_ros_are_taken(name: str) -> None:
    check_name("image_topic", name)


@pytest.mark.parametrize("name", ["", "/", "a b", "/x//y", "x/", "2left", "camera-1/image", "a~b", "émigré", "x\n"])
def test_others_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"camera_info_topic: expected letters, digits, _ and /, .*got "):
        check_name("camera_info_topic", name)
