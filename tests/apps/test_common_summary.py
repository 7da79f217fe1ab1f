"""Summaries leave out what is not defined, count it, and always give the same interval."""

from __future__ import annotations

import math

import numpy as np
import pytest

from medloss.apps.common.summary import mean_and_interval, summarise


def test_statistics_and_undefined_values():
    rows = [{"dice": value} for value in (0.7, 0.8, 0.9, math.nan, math.inf)] + [{}]
    entry = summarise(rows, ["dice"])["dice"]
    assert entry["n"] == 3 and entry["undefined"] == 2 and entry["infinite"] == 1 and entry["of"] == 4
    assert entry["mean"] == pytest.approx(0.8) and entry["median"] == pytest.approx(0.8)
    assert entry["std"] == pytest.approx(0.1)
    assert entry["interval95"][0] < 0.8 < entry["interval95"][1]
    assert "Dice" in entry["definition"]


def test_interval_is_reproducible_and_near_the_normal_one():
    values = np.random.default_rng(1).normal(5, 1, 400)
    rows = [{"seconds": value} for value in values]
    low, high = summarise(rows, ["seconds"])["seconds"]["interval95"]
    assert [low, high] == summarise(rows, ["seconds"])["seconds"]["interval95"]
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.02)
    assert high == pytest.approx(values.mean() + half, abs=0.02)


def test_nothing_and_one():
    assert summarise([], ["dice"])["dice"]["mean"] is None
    assert summarise([{"dice": 0.5}], ["dice"])["dice"]["interval95"] is None


def test_a_mean_says_of_how_many_it_is():
    entry = summarise([{"hd95_mm": value} for value in (2.0, math.inf, math.inf, math.nan)], ["hd95_mm"])["hd95_mm"]
    assert mean_and_interval(entry) == "2.000 of 1/3"
    assert mean_and_interval(summarise([{"hd95_mm": math.inf}], ["hd95_mm"])["hd95_mm"]) == "- of 0/1"
    assert mean_and_interval(summarise([{"dice": math.nan}], ["dice"])["dice"]) == "-"
