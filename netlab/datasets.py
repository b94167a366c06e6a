"""The data that comes with netlab's source: captures of real traffic, and how they were recorded.

They are part of a git clone, not of an installed package.
"""

from pathlib import Path
from typing import Final

from netlab.names import NetlabError

DATASETS: Final = Path(__file__).resolve().parent.parent / "datasets"
CAPTURES: Final = DATASETS / "captures"


def path(name: str, datasets: Path = DATASETS) -> Path:
    """The file of that name: `path("captures/web.pcap")`.

    Raises:
        NetlabError: there is none, or there are no datasets here at all.
    """
    if not datasets.is_dir():
        raise NetlabError(
            f"no datasets in {datasets}: they come with a git clone of netlab, not with the installed package"
        )
    file = datasets / name
    if not file.is_file():
        raise NetlabError(f"no dataset {name!r} (there are {', '.join(names(datasets))})")
    return file


def names(datasets: Path = DATASETS) -> tuple[str, ...]:
    """The names of all data files that `path` knows; none where there are no datasets."""
    files = (file for file in datasets.rglob("*") if file.suffix in (".pcap", ".yaml"))
    return tuple(sorted(file.relative_to(datasets).as_posix() for file in files))
