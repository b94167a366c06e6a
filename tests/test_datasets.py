"""The data that comes with the source, and the script that records it."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from netlab import datasets
from netlab.names import NetlabError
from netlab.replay import Capture

RECORDER = datasets.DATASETS / "record_captures.py"
CAPTURES = sorted(datasets.CAPTURES.glob("*.pcap"))


def test_data_files_are_found_by_name() -> None:
    assert datasets.path("captures/web.pcap").is_file()
    assert "captures/router.yaml" in datasets.names()
    assert all(datasets.path(name).is_file() for name in datasets.names())


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(NetlabError, match=r"^no dataset 'captures/web' \(there are captures/dns"):
        datasets.path("captures/web")


def test_an_installation_without_datasets_says_so(tmp_path: Path) -> None:
    with pytest.raises(NetlabError, match="git clone"):
        datasets.path("captures/web.pcap", tmp_path / "datasets")


@pytest.mark.parametrize("file", CAPTURES, ids=lambda file: file.name)
def test_captures_are_small_whole_and_ipv4(file: Path) -> None:
    assert file.stat().st_size < 100_000
    capture = Capture(file)
    frames = list(capture)
    assert frames
    assert capture.position == file.stat().st_size
    assert capture.cut == 0


def test_the_readme_counts_right() -> None:
    readme = (datasets.CAPTURES / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|.*\| (\d+) of (\d+) \|$", readme, re.MULTILINE)
    for name, packets, frames in rows:
        capture = Capture(datasets.path(f"captures/{name}.pcap"))
        assert len(list(capture)) == int(packets), name
        assert capture.frames == int(frames), name
    assert {f"{name}.pcap" for name, _, _ in rows} == {file.name for file in CAPTURES if "eth1" not in file.name}


def test_the_recorder_needs_root_and_knows_its_scenes() -> None:
    ran = subprocess.run([sys.executable, RECORDER, "nonsense"], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "unknown scene nonsense (there are web, dns, ping, traceroute, scan)" in ran.stderr


@pytest.mark.kernel
@pytest.mark.needs("ip", "tcpdump", "ping")
@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
def test_a_capture_can_be_recorded_again(tmp_path: Path) -> None:
    before = sorted(Path("/sys/class/net").iterdir())
    subprocess.run([sys.executable, RECORDER, "ping", "--to", tmp_path], check=True, capture_output=True, timeout=60)
    for name in ("ping.pcap", "ping.eth1.pcap"):
        again, shipped = ([*Capture(folder / name)] for folder in (tmp_path, datasets.CAPTURES))
        assert [len(frame.data) for frame in again] == [len(frame.data) for frame in shipped]
        assert [frame.data[12:20] for frame in again] == [frame.data[12:20] for frame in shipped]
    assert sorted(Path("/sys/class/net").iterdir()) == before


def test_the_recorder_is_importable_without_root() -> None:
    spec = importlib.util.spec_from_file_location("record_captures", RECORDER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert all(scene.__doc__ for scene in module.SCENES.values())
