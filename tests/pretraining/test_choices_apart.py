# SPDX-License-Identifier: Apache-2.0
import torch

from diffhpo.pretraining.choices_apart import choices_apart
from diffhpo.prior import PriorSampler
from diffhpo.prior.task_batch import CATEGORICAL, PADDING


def test_one_hot_columns_tell_what_the_level_told():
    """Independent: each function's columns are put together again by argmax, and must be the old ones."""
    tasks = PriorSampler(seed=2).batch(0, 128, 256)
    apart = choices_apart(tasks, torch.Generator().manual_seed(1))
    assert torch.equal(apart.y, tasks.y)
    changed = 0
    for row in range(len(tasks)):
        old, new = int(tasks.dims[row]), int(apart.dims[row])
        assert ((apart.kinds[row] == PADDING) == (torch.arange(apart.x.shape[2]) >= new)).all()
        assert not apart.x[row, :, new:].any()
        if old == new:
            assert torch.equal(tasks.x[row, :, :old], apart.x[row, :, :new])
            continue
        changed += 1
        assert old < new <= 32
        x = torch.cat([tasks.x[row], tasks.best_x[row : row + 1]])[:, :old]
        expanded = torch.cat([apart.x[row], apart.best_x[row : row + 1]])[:, :new]
        place = 0
        for column in range(old):
            values = x[:, column].unique()
            if tasks.kinds[row, column] == CATEGORICAL and len(values) > 2:
                block = expanded[:, place : place + len(values)]
                assert (block.sum(1) == 1).all()
                assert (apart.kinds[row, place : place + len(values)] == CATEGORICAL).all()
                assert torch.equal(values[block.argmax(1)], x[:, column])
                place += len(values)
            else:
                assert torch.equal(expanded[:, place], x[:, column])
                assert apart.kinds[row, place] == tasks.kinds[row, column]
                place += 1
        assert place == new
    assert changed > 5


def test_the_choice_of_functions_is_a_function_of_the_generator():
    tasks = PriorSampler(seed=2).batch(0, 64, 64)
    one, two, other = (choices_apart(tasks, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(one.x, two.x)
    assert not torch.equal(one.dims, other.dims)
