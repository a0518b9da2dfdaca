import torch
from hypothesis import given
from hypothesis import strategies as st

from alignimation_core.sampling import spread


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
