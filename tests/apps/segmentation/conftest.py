"""Data sets and a trained run for the tests of the segmentation."""

from __future__ import annotations

import pytest
from segmentation_phantoms import make_settings, write_dataset


@pytest.fixture
def dataset(tmp_path):
    """A data set that a test may spoil."""
    return write_dataset(tmp_path / "data")


@pytest.fixture
def settings(dataset):
    """A function that makes a small configuration of that data set."""
    return lambda **options: make_settings(dataset, **options)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The run folder of one short training, mirrored left to right, on data that no test touches."""
    from medloss.apps.segmentation.train import train

    folder = tmp_path_factory.mktemp("trained")
    options = {"train.epochs": 1, "train.mirror": "[0]"}
    return train(make_settings(write_dataset(folder / "data"), **options), folder / "run", progress=False).path
