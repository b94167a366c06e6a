"""`python -m netlab fuzz`: random machines and packets in both worlds."""

import argparse
import dataclasses
import os
import secrets
import time
from pathlib import Path

from netlab.iptables.extension import Variant
from netlab.kernel.fuzz.campaign import run_campaign
from netlab.kernel.fuzz.coverage import table
from netlab.kernel.fuzz.machines import Features
from netlab.kernel.fuzz.shrink import to_yaml
from netlab.kernel.fuzz.transitions import summary
from netlab.names import NetlabError

NAMES = [feature.name for feature in dataclasses.fields(Features)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `fuzz`."""
    parser.add_argument("--seed", default="", help="which random scenarios; without it a fresh one, which is printed")
    parser.add_argument("--packets", type=int, default=20_000, help="how many to compare (default: %(default)d)")
    parser.add_argument("--features", nargs="+", choices=NAMES, default=NAMES, help="what there may be")
    parser.add_argument("--legacy", action="store_true", help="load rules with iptables-legacy")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="write smallest scenarios of disagreements there")


def main(options: argparse.Namespace) -> int:
    """Compare so many random packets; the exit status is 1 if the worlds disagreed.

    Raises:
        NetlabError: an option makes no sense, or the kernel cannot be asked here.
    """
    from tqdm import tqdm

    if options.packets < 1:
        raise NetlabError(f"--packets: {options.packets} is not a number of packets from 1 up")
    if options.keep:
        try:
            options.keep.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise NetlabError(f"--keep: {options.keep}: {problem.strerror}") from None
    seed = options.seed or secrets.token_hex(4)
    features = Features(**{name: name in options.features for name in NAMES})
    print(f"seed {seed}, kernel {os.uname().release}")
    began = time.monotonic()
    with tqdm(total=options.packets, unit=" packets") as bar:
        variant: Variant = "legacy" if options.legacy else "nft"
        campaign = run_campaign(seed, options.packets, features, bar.update, variant)
    seconds = time.monotonic() - began
    print(table(campaign.coverage))
    if features.conntrack:
        print(summary(campaign.coverage))
    print(
        f"{campaign.packets} packets in {campaign.scenarios} scenarios ({campaign.refused} refused by both worlds), "
        f"{campaign.packets / seconds:.0f} packets a second, {len(campaign.disagreements)} disagreements"
    )
    for number, (what, scenario) in enumerate(campaign.disagreements):
        print(f"\n{scenario.name}\n{what}\n{to_yaml(scenario)}")
        if options.keep:
            (options.keep / f"seed-{seed}-{number}.yaml").write_text(f"# {scenario.name}\n{to_yaml(scenario)}")
    return 1 if campaign.disagreements else 0
