"""A tiny model folder for the tests of devices and precisions."""

import pytest

from tiny_model import write_tiny_model


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """A model folder; see `write_tiny_model`."""
    return write_tiny_model(tmp_path_factory.mktemp("tiny"))
