"""Energy of a training: differences of counters, and no figure where a device does not count."""

import itertools

import torch

from kinemacolor.training.energy import Energy, counters_of


def counter(*readings):
    """Readings of a device's counter in joules, one after the other."""
    return iter(readings).__next__


def test_what_was_used_is_the_difference_of_two_readings_over_all_devices():
    energy = Energy([counter(100.0, 130.0, 130.0), counter(7.0, 9.5, 19.5)])
    assert energy.used() == 32.5 and energy.used() == 10


def test_a_counter_that_begins_anew_or_goes_away_gives_no_figure():
    assert Energy([counter(100.0, 3.0)]).used() is None
    lost = Energy([itertools.chain([5.0], ()).__next__])
    assert lost.used() is None and lost.used() is None


def test_devices_that_do_not_count_have_no_figure():
    assert Energy([]).used() is None
    assert counters_of([]) == counters_of([torch.device("cpu")]) == []
    if not torch.cuda.is_available():
        assert counters_of([torch.device("cuda", 0)]) == []


def test_a_gpu_that_counts_counts_upwards():
    if not torch.cuda.is_available() or not (counters := counters_of([torch.device("cuda", 0)])):
        return
    energy = Energy(counters)
    field = torch.rand(4096, 4096, device="cuda")
    for _ in range(200):
        field = torch.tanh(field @ field)
    torch.cuda.synchronize()
    assert energy.used() > 0
