"""`treadle deadletter` without a server: arguments, and what is shown."""

from __future__ import annotations

from click.testing import CliRunner

from treadle.cli.main import main


def test_what_is_no_id_or_no_age_is_said_at_once() -> None:
    for arguments, why in (
        (("show", "17"), "'17' is no id of a dead letter"),
        (("purge",), "Name the dead letters"),
        (("purge", "run-1", "--all"), "Name the dead letters"),
        (("retry", "run-1", "--source", "a"), "they do not go with ids"),
        (("purge", "--all", "--older-than", "soon"), "'soon' is no age"),
    ):
        refused = CliRunner().invoke(main, ["deadletter", *arguments])
        assert refused.exit_code == 2
        assert why in " ".join(refused.output.split())
