# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from diffhpo.errors import CheckpointError, InputError
from diffhpo.history import History
from diffhpo.model import Loss, Network, NoiseAdder, NoiseSchedule, Sampler, Trainer, Transformer


def small_trainer(seed=0, **options):
    torch.manual_seed(seed)
    return Trainer(Network(2, width=16, context_width=8), Transformer(2, width=8), seed=seed, **options)


@pytest.fixture
def history():
    x = np.random.default_rng(0).random((10, 2))
    return History(x, -((x - 0.5) ** 2).sum(1))


def weights(trainer):
    return torch.cat([p.detach().ravel() for p in trainer.network.parameters()])


def test_the_loss_is_equation_2_of_the_brief(history):
    trainer = small_trainer()
    batch = Sampler(history).draw(6, seed=0)
    eps = torch.randn(6, 2, generator=torch.Generator().manual_seed(1))
    bars = NoiseSchedule.linear().alpha_bars[batch.t].float().unsqueeze(1)
    x_t = bars.sqrt() * (2 * batch.x - 1) + (1 - bars).sqrt() * eps
    pooled = trainer.transformer(batch.context).pooled
    wanted = ((trainer.network(x_t, batch.t, batch.improve, pooled) - eps) ** 2).mean()
    loss = Loss(trainer.network, trainer.transformer, NoiseAdder())(batch, eps)
    torch.testing.assert_close(loss, wanted)


def test_the_loss_decreases_well_below_that_of_predicting_nothing(history):
    trainer = small_trainer()
    losses = trainer.fit(Sampler(history), 300)
    assert losses[0] > 0.6
    assert np.mean(losses[-50:]) < 0.5 * losses[0]


def test_same_seed_same_weights_and_another_seed_others(history):
    def learned(seed):
        torch.manual_seed(0)
        trainer = Trainer(Network(2, width=16, context_width=8), Transformer(2, width=8), seed=seed)
        trainer.fit(Sampler(history), 5)
        return weights(trainer)

    assert torch.equal(learned(3), learned(3))
    assert not torch.equal(learned(3), learned(4))


def test_training_leaves_the_global_random_state_alone(history):
    trainer = small_trainer()
    before = torch.random.get_rng_state()
    trainer.fit(Sampler(history, jitter=0.1), 3)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_resumed_run_reaches_bitwise_the_same_weights(history, tmp_path):
    whole, part = small_trainer(), small_trainer()
    whole.fit(Sampler(history), 12)
    part.fit(Sampler(history), 7, checkpoint=tmp_path / "run.safetensors", checkpoint_every=3)
    resumed = Trainer.resume(tmp_path / "run.safetensors")
    assert resumed.step == 7
    resumed.fit(Sampler(history), 5)
    assert resumed.losses == whole.losses
    assert torch.equal(weights(resumed), weights(whole))


def test_early_stop_ends_a_run_that_no_longer_improves():
    trainer = small_trainer(learning_rate=1e-12)
    losses = trainer.fit(Sampler(History([[0.5, 0.5]], [1.0])), 3000, patience=50)
    assert 150 <= len(losses) < 3000


def test_progress_bar_is_off_unless_asked(history, capsys):
    small_trainer().fit(Sampler(history), 2)
    assert capsys.readouterr().err == ""
    small_trainer().fit(Sampler(history), 2, progress=True)
    assert "training" in capsys.readouterr().err


def test_bad_settings_are_named(history):
    with pytest.raises(InputError, match="context_width"):
        Trainer(Network(2, context_width=8), Transformer(2, width=16))
    with pytest.raises(InputError, match="batch"):
        small_trainer(batch=0)
    with pytest.raises(InputError, match="timesteps"):
        small_trainer().fit(Sampler(history, timesteps=10), 1)
    with pytest.raises(InputError, match="steps"):
        small_trainer().fit(Sampler(history), -1)


def test_resume_refuses_a_file_without_training_state(history, tmp_path):
    from diffhpo.model import Checkpoint, save_checkpoint

    trainer = small_trainer()
    save_checkpoint(
        tmp_path / "use.safetensors", Checkpoint(trainer.network, trainer.transformer, trainer.schedule)
    )
    with pytest.raises(CheckpointError, match="training state"):
        Trainer.resume(tmp_path / "use.safetensors")
