"""Naming the wrong idea behind a wrong answer, or keeping quiet.

A known wrong answer is a model of its misconception: it shows what someone who believes that would say to
every probe. A learner's answer is explained by it when the two agree wherever the learner is wrong. A wrong
diagnosis hurts more than none, so a misconception must also account for most of what it predicts, and two
different misconceptions that explain an answer equally well name nothing.
"""

from collections.abc import Sequence

from netlab.grading.exercise import Wrong


def diagnose(
    want: Sequence[object], got: Sequence[object], beliefs: Sequence[tuple[Wrong, Sequence[object]]]
) -> str | None:
    """The id of the misconception that fits, or None.

    Args:
        want: what each probe should show.
        got: what each showed under the learner's answer.
        beliefs: each known wrong answer with what the probes show under it.
    """
    errors = {place for place, pair in enumerate(zip(want, got, strict=True)) if pair[0] != pair[1]}
    best: dict[str, float] = {}
    for wrong, believed in beliefs:
        predicted = {place for place, pair in enumerate(zip(want, believed, strict=True)) if pair[0] != pair[1]}
        if errors <= predicted and all(got[place] == believed[place] for place in errors):
            share = len(errors) / len(predicted)
            best[wrong.misconception] = max(share, best.get(wrong.misconception, 0.0))
    top = max(best.values(), default=0.0)
    named = [misconception for misconception, share in best.items() if share == top]
    return named[0] if len(named) == 1 and top >= 0.5 else None
