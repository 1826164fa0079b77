"""Quantities as people write them. All expectations are worked out by hand."""

import math
from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckpt_callbacks import PolicyError, hours, minutes, seconds
from ckpt_callbacks.runtime.environment import job_end
from ckpt_callbacks.units import DURATION, MOMENT, RATE, SIZE, as_bytes, as_rate, as_seconds, as_utc, in_words, roughly

NAN, INF = math.nan, math.inf
NEVER = (None, True, False, NAN, INF, -INF, -1, -0.5, 10**400, "", "x", "5", "-5 s", "1e3 s", [5], {"s": 5}, b"5 s")


@pytest.mark.parametrize(
    ("made", "expected"),
    [(seconds(30), 30.0), (minutes(10), 600.0), (hours(0.5), 1800.0), (seconds(0), 0.0), (minutes(1.5), 90.0)],
)
def test_a_duration_is_in_seconds(made, expected):
    assert made == expected
    assert type(made) is float


@pytest.mark.parametrize("make", [seconds, minutes, hours])
@pytest.mark.parametrize("n", [None, True, NAN, INF, -1, "5", 10**400])
def test_a_number_that_is_no_duration_is_refused(make, n):
    with pytest.raises(PolicyError, match=f"^{make.__name__}: got .*; expected a finite number of at least 0$"):
        make(n)
    with pytest.raises(PolicyError):
        hours(1e308)  # no longer finite in seconds


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (0, 0.0),
        (30, 30.0),
        (0.25, 0.25),
        ("30 s", 30.0),
        ("30s", 30.0),
        ("1 sec", 1.0),
        ("1 second", 1.0),
        ("2 seconds", 2.0),
        ("0.1 s", 0.1),
        ("10 min", 600.0),
        ("1 minute", 60.0),
        ("10 minutes", 600.0),
        ("20 mins", 1200.0),
        ("20m", 1200.0),
        ("30 secs", 30.0),
        ("1 hr", 3600.0),
        ("2 hrs", 7200.0),
        ("1.5 h", 5400.0),
        ("1 hour", 3600.0),
        ("2 hours", 7200.0),
        ("2 d", 172800.0),
        ("1 day", 86400.0),
        ("0.5 days", 43200.0),
    ],
)
def test_what_is_a_duration(given, expected):
    assert as_seconds(given) == expected
    assert type(as_seconds(given)) is float


@pytest.mark.parametrize(
    "given",
    [*NEVER, "10 M", "10 MIN", "1 week", "5  s", "5 s ", "five s", "\N{ARABIC-INDIC DIGIT FIVE} s", "9" * 5000 + " s"],
)
def test_what_is_no_duration(given):
    with pytest.raises(PolicyError) as caught:
        as_seconds(given, "grace")
    assert str(caught.value) == f"grace is {given!r}; expected {DURATION}"


@pytest.mark.parametrize("given", [0, 0.0, "0 s", "0.0 h"])
def test_a_duration_of_0_is_refused_if_it_must_be_positive(given):
    assert as_seconds(given) == 0
    with pytest.raises(PolicyError, match=r"^grace is .*; expected a duration above 0: seconds, or text such as"):
        as_seconds(given, "grace", positive=True)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (0, 0),
        (10**400, 10**400),
        ("7 B", 7),
        ("1 kB", 1000),
        ("1 KB", 1000),
        ("500 MB", 500 * 10**6),
        ("5 GB", 5 * 10**9),
        ("5GB", 5 * 10**9),
        ("1.1 TB", 1100 * 10**9),
        ("1 PB", 10**15),
        ("1 KiB", 1024),
        ("1 MiB", 1024**2),
        ("2 GiB", 2 * 1024**3),
        ("0.5 TiB", 512 * 1024**3),
        ("1 PiB", 1024**5),
        ("1.1 KiB", 1126),  # 1126.4
    ],
)
def test_what_is_a_size(given, expected):
    assert as_bytes(given) == expected
    assert type(as_bytes(given)) is int


@pytest.mark.parametrize("given", [*(n for n in NEVER if n != 10**400), 5.0, "5 gb", "5 Gb", "5 G", "5 s", "5 kiB"])
def test_what_is_no_size(given):
    with pytest.raises(PolicyError) as caught:
        as_bytes(given, "min_free")
    assert str(caught.value) == f"min_free is {given!r}; expected {SIZE}"


@pytest.mark.parametrize(
    ("given", "expected"), [(1, 1), ("10 MB", 10**7), ("10 MB/s", 10**7), ("1 KiB/s", 1024), ("1.5 kB", 1500)]
)
def test_what_is_a_rate(given, expected):
    assert as_rate(given) == expected
    assert type(as_rate(given)) is int


@pytest.mark.parametrize(
    "given", [*(n for n in NEVER if n != 10**400), 0, 5.0, "0 MB/s", "0.1 B", "5 MB/h", "5 MB /s", "5 mb/s", "/s"]
)
def test_what_is_no_rate(given):
    with pytest.raises(PolicyError) as caught:
        as_rate(given, "max_upload_rate")
    assert str(caught.value) == f"max_upload_rate is {given!r}; expected {RATE}"


EVENING = 1795561200.0  # 2026-11-24, 23:00 UTC


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (5, 5.0),
        (EVENING, EVENING),
        ("2026-11-24T23:00:00Z", EVENING),
        ("2026-11-24 23:00:00z", EVENING),
        ("2026-11-24T23:00:00+00:00", EVENING),
        ("2026-11-25T00:00:00+01:00", EVENING),
        ("2026-11-24T17:30:00.500-05:30", EVENING + 0.5),
        (datetime(2026, 11, 24, 23, tzinfo=timezone.utc), EVENING),
        (datetime(2026, 11, 25, 1, tzinfo=timezone(timedelta(hours=2))), EVENING),
    ],
)
def test_what_is_a_moment(given, expected):
    assert as_utc(given) == expected
    assert type(as_utc(given)) is float


@pytest.mark.parametrize(
    "given", [*NEVER, 0, "5 s", "2026-11-24T25:00:00Z", "1969-12-31T23:00:00Z", date(2026, 11, 24), timedelta(5)]
)
def test_what_is_no_moment(given):
    with pytest.raises(PolicyError) as caught:
        as_utc(given, "end")
    assert str(caught.value) == f"end is {given!r}; expected {MOMENT}"


@pytest.mark.parametrize("given", ["2026-11-24T23:00:00", "2026-11-24", datetime(2026, 11, 24, 23)])
def test_a_moment_without_an_offset_could_be_any_of_many(given):
    with pytest.raises(
        PolicyError, match=r"^end is '2026-11-24.*', which has no offset from UTC; expected a moment: UTC"
    ):
        as_utc(given, "end")


@given(st.one_of(st.text(), st.from_regex(r"[0-9.]{1,20} ?[a-zA-Z]{1,3}"), st.integers(), st.floats()))
def test_anything_is_read_or_refused_in_one_line(given):
    for read in (as_seconds, as_bytes, as_rate, as_utc):
        try:
            assert 0 <= read(given) < INF
        except PolicyError as error:
            assert len(str(error).splitlines()) == 1


@pytest.mark.parametrize(
    ("duration", "words"),
    [
        (1, "1 second"),
        (0.5, "0.5 seconds"),
        (90, "90 seconds"),
        (60, "1 minute"),
        (600, "10 minutes"),
        (3600, "1 hour"),
        (5400, "90 minutes"),
        (86400, "24 hours"),
        (123456789.125, "123456789.125 seconds"),
    ],
)
def test_a_duration_in_words(duration, words):
    assert in_words(duration) == in_words(float(duration)) == words


@pytest.mark.parametrize(
    ("duration", "words"),
    [
        (0, "0 s"),
        (0.00025, "0.25 ms"),
        (0.0321, "32.1 ms"),
        (0.3216, "0.322 s"),
        (32, "32 s"),
        (117.6, "1.96 min"),
        (3600, "1 h"),
        (5400, "1.5 h"),
        (864000, "10 d"),
    ],
)
def test_a_duration_in_rough_words(duration, words):
    assert roughly(duration) == words


@pytest.mark.parametrize(
    ("environ", "end"),
    [
        ({}, None),
        ({"SLURM_JOB_END_TIME": "1795561200"}, 1795561200.0),
        ({"SLURM_JOB_END_TIME": "1795561200.5"}, 1795561200.5),
        *(({"SLURM_JOB_END_TIME": text}, None) for text in ("", "0", "-5", "nan", "inf", "soon", "1795561200000")),
        ({"SLURM_JOB_START_TIME": "1795561200"}, None),
    ],
)
def test_when_the_scheduler_ends_the_job(environ, end):
    assert job_end(environ) == end


def test_the_environment_of_the_process_is_read_when_it_is_asked(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_END_TIME", "1795561200")
    assert job_end() == 1795561200.0
    monkeypatch.delenv("SLURM_JOB_END_TIME")
    assert job_end() is None
