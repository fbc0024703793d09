"""How `prefetch` shows its progress."""

from __future__ import annotations

import pytest

from tests.commands.harness import Operator

pytestmark = pytest.mark.process


def test_a_terminal_has_a_bar(operator: Operator) -> None:
    operator.publish("acme/chat")
    done = operator.on_terminal("prefetch", "acme/chat", "--into", str(operator.cache))
    assert done.code == 0
    assert "430.2/430.2 KiB" in done.out
    assert "\x1b[" in done.out
    assert " of 440574 bytes" not in done.out


def test_elsewhere_there_are_lines(operator: Operator) -> None:
    operator.publish("acme/chat")
    done = operator.run("prefetch", "acme/chat", "--into", str(operator.cache))
    assert done.code == 0
    assert "acme/chat: 440574 of 440574 bytes" in done.err
    assert "\x1b" not in done.all
    assert "\r" not in done.all
