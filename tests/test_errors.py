"""The one table from failures to DIMSE status, ledger state and exit code."""

from __future__ import annotations

import pytest

from radanon_node import errors


@pytest.mark.parametrize(
    ("error", "status", "exit_code"),
    [
        (errors.DiskLow("spool"), 0xA700, 1),
        (errors.LedgerUnavailable("ledger"), 0xA700, 1),
        (errors.ConfigError("x"), 0xA700, 2),
        (errors.HoldInstance(errors.Reason.VIDEO), 0x0000, 3),
        (errors.DeliveryRefused("x", 0xA700), 0x0110, 1),
        (ValueError("foreign"), 0x0110, 1),
    ],
)
def test_every_failure_has_its_row(error: Exception, status: int, exit_code: int) -> None:
    assert errors.outcome_of(error).dimse_status == status
    assert errors.outcome_of(error).exit_code == exit_code


def test_every_class_of_the_tree_is_drawn_in_the_docstring() -> None:
    def tree(cls: type[Exception]) -> list[str]:
        return [cls.__name__] + [name for child in cls.__subclasses__() if child.__module__ == errors.__name__ for name in tree(child)]

    assert errors.__doc__ is not None
    assert [name for name in tree(errors.RadanonError) if name not in errors.__doc__] == []


def test_only_reasons_of_content_can_be_waived() -> None:
    assert errors.Reason.UID_CONFLICT not in errors.WAIVABLE
    assert errors.Reason.INTERNAL_ERROR not in errors.WAIVABLE
    assert errors.Reason.PIXELS_CHANGED_OUTSIDE not in errors.WAIVABLE
