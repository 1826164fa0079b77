"""Places for the tests of stores."""

import pytest

from .cloud_places import NAMES as CLOUDS
from .cloud_places import PARAMETERS as BUCKETS
from .cloud_places import CloudPlaces
from .file_places import PARAMETERS as FILES
from .file_places import Places
from .sent_file import SentFile


@pytest.fixture(scope="session")
def places(tmp_path_factory):
    """The servers, which are started when a test needs them."""
    folder = tmp_path_factory.mktemp("servers")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HF_HOME", "HF_XET_CACHE"):  # not in the user's
            patch.setenv(name, str(folder / "huggingface"))
        found = Places(folder)
        yield found
        found.close()


@pytest.fixture(scope="session")
def clouds(tmp_path_factory):
    """The servers of the three clouds, which are started when a test needs them."""
    found = CloudPlaces(tmp_path_factory.mktemp("clouds"))
    yield found
    found.close()


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.mirrors) for name in CLOUDS])
def cloud(request, clouds, tmp_path):
    """A new place in each cloud."""
    return clouds.place(request.param, tmp_path)


@pytest.fixture(params=[*FILES, *BUCKETS])
def place(request, tmp_path):
    """A new place of each kind."""
    servers = request.getfixturevalue("clouds" if request.param in CLOUDS else "places")
    return servers.place(request.param, tmp_path)


@pytest.fixture
def part(request):
    """The bytes of a part."""
    return request.getfixturevalue("cloud").part if "cloud" in request.fixturenames else 5 << 20


@pytest.fixture
def file(part, tmp_path):
    """A file of three parts and some bytes."""
    return SentFile(tmp_path / "sent", 3 * part + 5)
