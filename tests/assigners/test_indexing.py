"""Ranks within groups and selective scatters against plain Python."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from lad.assigners.indexing import group_sizes, index_in_group, rank_in_group, scatter_selected

NUM_GROUPS = 4
GROUPS = st.lists(st.integers(0, NUM_GROUPS - 1), max_size=30)
COSTS = st.one_of(st.integers(0, 3).map(float), st.floats(allow_nan=False, width=32))  # many ties among them


def integers(values: list[int]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int64)


@given(GROUPS)
def test_group_sizes_count_every_group_and_empty_ones_too(groups):
    assert group_sizes(integers(groups), NUM_GROUPS).tolist() == [groups.count(group) for group in range(NUM_GROUPS)]


@given(GROUPS.map(sorted))
def test_the_index_in_a_group_counts_from_its_first_element(groups):
    index = index_in_group(integers(groups), group_sizes(integers(groups), NUM_GROUPS))
    assert index.tolist() == [row - groups.index(group) for row, group in enumerate(groups)]


@given(st.lists(st.tuples(st.integers(0, NUM_GROUPS - 1), COSTS), max_size=30))
def test_the_rank_in_a_group_is_the_number_of_lower_costs_and_earlier_equal_ones(elements):
    groups, costs = [group for group, _ in elements], [cost for _, cost in elements]
    expected = [
        sum((other, position) < (cost, row) for position, (among, other) in enumerate(elements) if among == group)
        for row, (group, cost) in enumerate(elements)
    ]
    rank = rank_in_group(torch.tensor(costs, dtype=torch.float64), integers(groups), NUM_GROUPS)
    assert rank.tolist() == expected


@given(st.data())
def test_a_scatter_writes_the_selected_values_and_nothing_else(data):
    base = data.draw(st.lists(st.integers(-9, 9), max_size=8))
    chosen = data.draw(st.permutations(range(len(base))).map(lambda order: order[: len(base) // 2]))
    writes = [(index, data.draw(st.integers(10, 99)), True) for index in chosen]
    anything = st.integers(-(10**6), 10**6)  # where not selected, the index is not used
    writes += [(data.draw(anything), 0, False) for _ in range(data.draw(st.integers(0, 5)))]
    writes = data.draw(st.permutations(writes))
    expected = list(base)
    for index, value, is_selected in writes:
        if is_selected:
            expected[index] = value
    index, values = integers([write[0] for write in writes]), integers([write[1] for write in writes])
    selected = torch.tensor([write[2] for write in writes], dtype=torch.bool)
    given_base = integers(base)
    assert scatter_selected(given_base, index, values, selected).tolist() == expected
    assert given_base.tolist() == base
