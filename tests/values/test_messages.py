"""Events, orders and rules are values: equal by what they hold, hashable, immutable, and small."""

import dataclasses
import inspect

import pytest

from safeconnect import events
from safeconnect._connect.state_machine import Dial, Rules, _Attempt

MESSAGES = [getattr(events, name) for name in events.__all__]


@pytest.mark.parametrize("cls", [*MESSAGES, Rules], ids=lambda cls: cls.__name__)
def test_is_a_value(cls):
    fields = [field.name for field in dataclasses.fields(cls)]
    values = [cls(*range(len(fields))) for _ in range(2)]
    assert values[0] == values[1]
    assert hash(values[0]) == hash(values[1])
    assert not hasattr(values[0], "__dict__")
    for name in fields:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(values[0], name, None)


def test_a_dial_is_made_of_its_rules_and_chance_alone():
    assert list(inspect.signature(Dial).parameters) == ["rules", "draw"]
    assert not hasattr(Dial(Rules(), lambda: 0.5), "__dict__")
    assert not hasattr(_Attempt(None, 0.0, 1.0), "__dict__")
