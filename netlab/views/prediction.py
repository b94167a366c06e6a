"""A question that wants a prediction before it shows what happens."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from html import escape
from typing import Any

from traitlets import Bool, List, Unicode

from netlab.names import NetlabError
from netlab.trace import Trace
from netlab.views.widget import Player, module

Reveal = Trace | str | Callable[[], object]

DONT_KNOW = "I don't know"


class Prediction(Player):
    """Asks, locks, reveals. `chosen` is the locked choice (`DONT_KNOW` allowed), empty until then."""

    _esm = module("dom.js", "player.js", "prediction.js")
    question = Unicode().tag(sync=True)
    choices: List[str] = List(Unicode()).tag(sync=True)
    chosen = Unicode().tag(sync=True)
    locked = Bool(False).tag(sync=True)
    remark = Unicode().tag(sync=True)
    html = Unicode().tag(sync=True)

    def __init__(self, question: str, choices: Iterable[str], reveal: Reveal, answer: str | None = None) -> None:
        offered = list(choices)
        if len(offered) < 2:
            raise NetlabError(f"predict: a question needs at least two choices, not {len(offered)}")
        if answer is not None and answer not in offered:
            raise NetlabError(f"predict: the answer {answer!r} is not among the choices")
        self._reveal = reveal
        self._answer = answer
        super().__init__(question=question, choices=[*offered, DONT_KNOW])
        self.on_msg(self._hear)

    def lock(self, choice: str) -> None:
        """Lock a choice, and only then work out and send what happens. A locked choice stays.

        Raises:
            NetlabError: no such choice.
        """
        if choice not in self.choices:
            raise NetlabError(f"{choice!r} is not among the choices: {', '.join(self.choices)}")
        if self.locked:
            return
        outcome = self._reveal() if callable(self._reveal) else self._reveal
        with self.hold_sync():
            self.chosen = choice
            self.remark = self._remark(choice)
            if isinstance(outcome, Trace):
                self.play(outcome)
            else:
                self.html = _html(outcome)
            self.locked = True

    def _remark(self, choice: str) -> str:
        if self._answer is None:
            return ""
        if choice == self._answer:
            return "It happens as you predicted."
        return f"What happens: {self._answer}."

    def _hear(self, _: object, message: dict[str, Any], __: object) -> None:
        if message.get("do") == "lock":
            self.lock(str(message.get("choice")))

    def static_html(self) -> str:
        items = "".join(f"<li>{escape(choice)}</li>" for choice in self.choices)
        return f"<p><strong>{escape(self.question)}</strong></p><ul>{items}</ul>"

    def __str__(self) -> str:
        return "\n".join([self.question, *(f"  - {choice}" for choice in self.choices)])


def _html(outcome: object) -> str:
    show = getattr(outcome, "_repr_html_", None)
    return str(show()) if callable(show) else f"<p>{escape(str(outcome))}</p>"


def predict(question: str, choices: Iterable[str], reveal: Reveal, answer: str | None = None) -> Prediction:
    """Ask for a prediction, lock it, then show what happens.

    Args:
        question: one sentence.
        choices: at least two; "I don't know" is added to them.
        reveal: a trace, a text, or a function that gives either or anything that shows itself in a notebook. It is not
            called, and nothing of it leaves Python, before the prediction is locked.
        answer: the choice that comes true, where one does.

    Raises:
        NetlabError: fewer than two choices, or an answer that is not among them.
    """
    return Prediction(question, choices, reveal, answer)
