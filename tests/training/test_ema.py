"""The moving average of weights: its formula, its warm-up, and what it leaves alone."""

import pytest
import torch
from torch import nn

from lad.training.ema import start_average, update_average


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def test_the_average_is_the_weighted_mean_of_all_weights_so_far():
    model = network()
    average, weights = start_average(model), [model[0].weight.detach().clone()]
    for step in range(5):
        with torch.no_grad():
            model[0].weight += torch.randn(4, 3)
        weights.append(model[0].weight.detach().clone())
        update_average(average, model, decay=0.3, step=step)
    decays = [min(0.3, (1 + step) / (10 + step)) for step in range(5)]
    assert decays[0] == 0.1 and decays[4] == 0.3
    expected = weights[0]
    for decay, current in zip(decays, weights[1:], strict=True):
        expected = decay * expected + (1 - decay) * current
    torch.testing.assert_close(average[0].weight, expected)


def test_running_statistics_are_averaged_and_counts_are_copied():
    model = network()
    average = start_average(model)
    model.train()(torch.randn(8, 3) + 5)
    update_average(average, model, decay=0.999, step=0)
    assert torch.allclose(average[1].running_mean, 0.9 * model[1].running_mean)
    assert average[1].num_batches_tracked == model[1].num_batches_tracked == 1


def test_the_network_itself_is_not_changed_and_weights_that_do_not_move_stay_exactly_the_same():
    model = network()
    average, before = start_average(model), {name: value.clone() for name, value in model.state_dict().items()}
    update_average(average, model, decay=0.7, step=1000)
    for name, value in before.items():
        assert torch.equal(model.state_dict()[name], value) and torch.equal(average.state_dict()[name], value)


def test_the_average_has_no_gradients_and_is_in_eval_mode():
    average = start_average(network())
    assert not average.training and not any(weight.requires_grad for weight in average.parameters())


@pytest.mark.parametrize("step", [0, 10, 10**6])
def test_the_decay_warms_up_to_its_value(step):
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(0)
        average = start_average(model)
        model.weight.fill_(1)
    update_average(average, model, decay=0.99, step=step)
    assert 1 - average.weight.item() == pytest.approx(min(0.99, (1 + step) / (10 + step)), abs=1e-6)
