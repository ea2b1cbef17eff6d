from __future__ import annotations

import os
import signal

import pytest

from urfb.engines.signals import STOPPING, stopping_on_signals


@pytest.mark.parametrize("number", STOPPING)
def test_a_second_signal_interrupts_and_a_third_is_ignored(number: signal.Signals) -> None:
    before = {one: signal.signal(one, signal.SIG_DFL) for one in STOPPING}
    try:
        with stopping_on_signals() as stop:
            assert not stop()
            os.kill(os.getpid(), number)
            assert stop()
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)  # would end this process if it were not ignored
        assert all(signal.getsignal(one) == signal.SIG_IGN for one in STOPPING)
        for one in STOPPING:
            signal.signal(one, signal.SIG_DFL)
        with stopping_on_signals():
            pass
        assert all(signal.getsignal(one) == signal.SIG_DFL for one in STOPPING)
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
