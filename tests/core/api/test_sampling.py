import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alignimation_core.api.sampling import row_of_each, spread


@given(count=st.integers(0, 5000), most=st.integers(1, 600))
def test_one_of_each_part_in_order_and_always_the_same(count, most):
    chosen = spread(count, most)
    assert chosen.dtype == torch.int64
    assert len(chosen) == min(count, most)
    starts = torch.arange(len(chosen)) * count // max(len(chosen), 1)
    ends = torch.cat([starts, torch.tensor([count])])[1:]
    assert ((starts <= chosen) & (chosen < ends)).all()
    assert torch.equal(chosen, spread(count, most))


@given(parts=st.integers(2, 6), period=st.integers(2, 6), most=st.sampled_from([256, 400, 1000]))
def test_no_rhythm_of_the_series_hides_a_part_of_it(parts, period, most):
    for count in (parts * most - 1, parts * most, parts * (most - 1), parts * (most - 1) + 1):
        shares = torch.bincount(spread(count, most) % period, minlength=period) / most
        assert (shares * period).min() > 0.5


@given(
    weights=st.lists(st.floats(0.01, 1), min_size=1, max_size=400), most=st.sampled_from([1, 7, 50])
)
def test_by_weight_every_heavy_one_is_chosen_and_none_twice(weights, most):
    exact = torch.tensor(weights, dtype=torch.float64)
    chosen = spread(len(weights), most, exact)
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert 0 < len(chosen) <= max(most, 1) or len(weights) <= most
    heavy = (exact >= 2 * exact.sum() / most).nonzero()[:, 0]
    assert set(heavy.tolist()) <= set(chosen.tolist())


def test_by_weight_a_few_portraits_are_met_among_thousands_of_faces_in_crowds():
    weights = torch.cat([torch.ones(400), torch.full((48_000,), 1 / 30)]).double()
    chosen = spread(len(weights), 256, weights)
    assert (chosen < 400).sum() == pytest.approx(256 * 400 / 2000, abs=2)


def test_the_rows_of_tables_of_any_length_are_those_asked_for():
    tables = [torch.rand(count, 2) for count in (1, 3, 2)]
    scores = [torch.rand(count) for count in (1, 3, 2)]
    rows, numbers = row_of_each([0, 2, 1], tables, scores)
    assert rows.equal(torch.stack([tables[0][0], tables[1][2], tables[2][1]]))
    assert numbers.equal(torch.stack([scores[0][0], scores[1][2], scores[2][1]]))
