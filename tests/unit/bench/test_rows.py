"""The form of the benchmark's rows, its table and its file. Nothing is measured here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import results_file, table
from benchmarks.__main__ import FIGURES, main
from benchmarks.row import Row, against, counted, holds

FIELDS = {"name", "value", "unit", "counterpart", "counterpart_value", "ratio", "aim", "holds"}


def fast() -> Row:
    return against("up_100_pods_1s", "s", [5.0, 6.0, 9.0], "an empty provider", [30.0, 24.0, 20.0], "ratio <= 0.25")


def slow() -> Row:
    return counted("import_one_resource", "ms", 61.0, "pulumi alone", 270.0, "value <= 60")


def informing() -> Row:
    return counted("up_unchanged", "requests", 0, "nothing", None, None)


def test_a_row_has_the_fields_that_other_tools_read() -> None:
    assert set(fast().as_json()) == FIELDS


def test_medians_are_compared() -> None:
    row = fast()
    assert (row.value, row.counterpart_value, row.ratio, row.holds) == (6.0, 24.0, 0.25, True)
    assert "medians of 3" in row.counterpart


def test_an_aim_that_is_missed_is_said() -> None:
    assert slow().holds is False
    assert "does not hold" in table.render([slow()])


def test_a_row_without_an_aim_only_informs() -> None:
    assert informing().holds is None
    assert informing().ratio is None


@pytest.mark.parametrize("aim", ["<= 5", "ratio < 5", "value <= many"])
def test_an_aim_that_cannot_be_read_is_an_error(aim: str) -> None:
    with pytest.raises(ValueError, match="not an aim"):
        holds(aim, value=1.0, ratio=1.0)


def test_a_ratio_without_a_counterpart_is_an_error() -> None:
    with pytest.raises(ValueError, match="needs a counterpart"):
        counted("x", "s", 1.0, "nothing", None, "ratio <= 1")


def test_the_table_fits_a_terminal() -> None:
    shown = table.render([fast(), slow(), informing()])
    assert max(len(line) for line in shown.splitlines()) <= 80
    assert "up_100_pods_1s" in shown


def test_a_run_of_one_figure_keeps_the_other_rows(tmp_path: Path) -> None:
    path = tmp_path / "results" / "bench.json"
    results_file.write(path, [fast(), informing()], keep_others=False)
    results_file.write(path, [counted("up_unchanged", "requests", 3, "nothing", None, None), slow()], keep_others=True)
    rows = json.loads(path.read_text())
    assert [(row["name"], row["value"]) for row in rows] == [
        ("up_100_pods_1s", 6.0),
        ("up_unchanged", 3),
        ("import_one_resource", 61.0),
    ]
    results_file.write(path, [slow()], keep_others=False)
    assert [row["name"] for row in json.loads(path.read_text())] == ["import_one_resource"]


def test_the_committed_results_have_this_form() -> None:
    if not results_file.DEFAULT.exists():
        pytest.skip("no results are committed yet")
    rows = json.loads(results_file.DEFAULT.read_text())
    names = [row["name"] for row in rows]
    assert len(set(names)) == len(names)
    for row in rows:
        assert set(row) == FIELDS
        if row["aim"] is not None:
            assert row["holds"] is holds(row["aim"], value=row["value"], ratio=row["ratio"])


def test_an_unknown_figure_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--only", "nonsense"])
    assert ended.value.code == 2
    assert "up-floor" in capsys.readouterr().err
    assert "up-floor" in FIGURES


def test_what_cannot_be_measured_ends_with_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(bench: object, *, quick: bool) -> list[Row]:
        raise OSError("no such thing")

    def well(bench: object, *, quick: bool) -> list[Row]:
        return [slow()]

    monkeypatch.setattr("benchmarks.__main__.FIGURES", {"import": well})
    output = tmp_path / "bench.json"
    assert main(["--quick", "--output", str(output)]) == 0, "an aim that does not hold is no failure"
    monkeypatch.setattr("benchmarks.__main__.FIGURES", {"import": broken})
    assert main(["--quick"]) == 1
    assert "could not be measured: no such thing" in capsys.readouterr().err
