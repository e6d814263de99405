# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from diffhpo.errors import BackendError, CheckpointError, InputError
from diffhpo.history import History
from diffhpo.model import Loss, Network, NoiseAdder, NoiseSchedule, Sampler, Trainer, Transformer
from diffhpo.model.joint_training import fit_together
from diffhpo.model.native_training import not_covered


def small_trainer(seed=0, **options):
    torch.manual_seed(seed)
    return Trainer(Network(2, width=16, context_width=8), Transformer(2, width=8), seed=seed, **options)


@pytest.fixture
def history():
    x = np.random.default_rng(0).random((10, 2))
    return History(x, -((x - 0.5) ** 2).sum(1))


@pytest.fixture(params=["reference", "cpu"])
def executor(request):
    return request.param


def weights(trainer):
    """All that training changes: parameters and moments."""
    parts = [*trainer.network.parameters(), *trainer.transformer.parameters()]
    moments = [value for p in parts for value in trainer._optimizer.state.get(p, {}).values()]
    return torch.cat([tensor.detach().ravel() for tensor in (*parts, *moments)])


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


def test_the_loss_decreases_well_below_that_of_predicting_nothing(history, executor):
    trainer = small_trainer(executor=executor)
    losses = trainer.fit(Sampler(history), 300)
    assert losses[0] > 0.6
    assert np.mean(losses[-50:]) < 0.5 * losses[0]


def test_same_seed_same_weights_and_another_seed_others(history, executor):
    def learned(seed):
        torch.manual_seed(0)
        network, transformer = Network(2, width=16, context_width=8), Transformer(2, width=8)
        trainer = Trainer(network, transformer, seed=seed, executor=executor)
        trainer.fit(Sampler(history), 5)
        return weights(trainer)

    assert torch.equal(learned(3), learned(3))
    assert not torch.equal(learned(3), learned(4))


def test_training_leaves_the_global_random_state_alone(history, executor):
    trainer = small_trainer(executor=executor)
    before = torch.random.get_rng_state()
    trainer.fit(Sampler(history, jitter=0.1), 3)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_resumed_run_reaches_bitwise_the_same_weights(history, tmp_path, executor):
    whole, part = small_trainer(executor=executor), small_trainer(executor=executor)
    whole.fit(Sampler(history), 12)
    part.fit(Sampler(history), 7, checkpoint=tmp_path / "run.safetensors", checkpoint_every=3)
    resumed = Trainer.resume(tmp_path / "run.safetensors", executor=executor)
    assert resumed.step == 7
    resumed.fit(Sampler(history), 5)
    assert resumed.losses == whole.losses
    assert torch.equal(weights(resumed), weights(whole))


def test_a_checkpoint_comes_every_so_many_steps(history, tmp_path, executor, monkeypatch):
    trainer, written = small_trainer(executor=executor), []
    monkeypatch.setattr(trainer, "save", lambda path: written.append(trainer.step))
    trainer.fit(Sampler(history), 8, checkpoint=tmp_path / "x", checkpoint_every=3)
    assert written == [3, 6, 8]


def test_early_stop_ends_a_run_that_no_longer_improves(executor):
    trainer, patience = small_trainer(learning_rate=1e-12, executor=executor), 50
    losses = trainer.fit(Sampler(History([[0.5, 0.5]], [1.0])), 3000, patience=patience)
    assert 150 <= len(losses) == trainer.step < 3000
    averages = [np.mean(losses[step - 100 : step]) for step in range(100, len(losses) + 1)]
    waited = [step - int(np.argmin(averages[: step + 1])) for step in range(len(averages))]
    assert waited[-1] == patience > max(waited[:-1])


def test_both_executors_take_the_same_steps_up_to_rounding(history):
    options = {"greed": 3.0, "jitter": 0.4, "balanced": True, "exclude_query": True, "flag_dropout": 0.2}
    trainers = [small_trainer(executor=name, seed=5) for name in ("reference", "cpu")]
    theirs, ours = (trainer.fit(Sampler(history, **options), 30) for trainer in trainers)
    assert ours == pytest.approx(theirs, rel=1e-4)
    assert weights(trainers[1]).numpy() == pytest.approx(weights(trainers[0]).numpy(), abs=2e-3)


def test_a_run_may_change_its_executor(history):
    trainer, whole = small_trainer(executor="cpu"), small_trainer(executor="cpu")
    trainer.fit(Sampler(history), 4)
    trainer.executor = "reference"
    trainer.fit(Sampler(history), 4)
    trainer.executor = "cpu"
    trainer.fit(Sampler(history), 4)
    whole.fit(Sampler(history), 12)
    assert trainer.losses == pytest.approx(whole.losses, rel=1e-4)


def test_many_steps_of_learning_end_at_equal_losses(history):
    """Rounding makes the paths part in time; what they learn does not depend on it."""
    sampler = Sampler(history, jitter=0.2, balanced=True)
    ends = {
        name: [np.mean(small_trainer(seed, executor=name).fit(sampler, 300)[-100:]) for seed in range(4)]
        for name in ("reference", "cpu")
    }
    assert np.mean(ends["cpu"]) == pytest.approx(np.mean(ends["reference"]), rel=0.03)


def test_the_executor_follows_a_rule_that_can_be_asked_for(history):
    trainer = small_trainer()
    assert trainer.chosen_executor.startswith("cpu-")
    trainer.network.input.weight.requires_grad_(False)
    assert trainer.chosen_executor == "reference"
    assert not_covered(trainer.network, trainer.transformer) == "network.input.weight is frozen"
    trainer.executor = "cpu"
    with pytest.raises(BackendError, match="frozen"):
        trainer.fit(Sampler(history), 1)
    assert trainer.step == 0

    network = Network(2, width=16, context_width=8, cross_attention=True)
    trainer = Trainer(network, Transformer(2, width=8))
    assert trainer.chosen_executor == "reference"
    assert len(trainer.fit(Sampler(history), 2)) == 2
    with pytest.raises(BackendError, match="cross-attention"):
        _ = Trainer(network, Transformer(2, width=8), executor="cpu").chosen_executor

    class Other(Network):
        pass

    assert "exactly" in not_covered(Other(2, context_width=8), Transformer(2, width=8))
    assert "float64" in not_covered(Network(2, context_width=8).double(), Transformer(2, width=8))
    assert "meta" in not_covered(Network(2, context_width=8).to("meta"), Transformer(2, width=8))
    assert "beyond" in not_covered(Network(2, context_width=8, time_features=4098), Transformer(2, width=8))
    assert "together" in not_covered(Network(3, context_width=8), Transformer(2, width=8))


def test_trainers_together_take_the_steps_that_each_takes_alone(history):
    x = np.random.default_rng(1).random((23, 2))
    samplers = [Sampler(history, greed=2.0), Sampler(History(x, x.sum(1)))]
    together, alone = ([small_trainer(seed, executor="cpu") for seed in (3, 4)] for _ in range(2))
    together[1].fit(samplers[1], 2)
    alone[1].fit(samplers[1], 2)
    losses = fit_together(together, samplers, 5, threads=2)
    assert losses == [trainer.fit(s, 5) for trainer, s in zip(alone, samplers, strict=True)]
    for ours, theirs in zip(together, alone, strict=True):
        assert ours.step == theirs.step
        assert ours.losses == theirs.losses
        assert torch.equal(weights(ours), weights(theirs))
    assert fit_together([], [], 3) == []


def test_trainers_that_do_not_fit_together_are_named(history):
    sampler, trainer = Sampler(history), small_trainer()
    wide = Trainer(Network(2, width=24, context_width=8), Transformer(2, width=8))
    for other, sampled, message in (
        (wide, sampler, "shape"),
        (small_trainer(batch=5), sampler, "batch"),
        (small_trainer(learning_rate=1.0), sampler, "learning_rate"),
        (small_trainer(), Sampler(history, balanced=True), "sampler options"),
        (small_trainer(schedule=NoiseSchedule.cosine()), sampler, "schedule"),
        (trainer, sampler, "distinct"),
    ):
        with pytest.raises(InputError, match=message):
            fit_together([trainer, other], [sampler, sampled], 1)
    with pytest.raises(BackendError, match="reference"):
        fit_together([trainer, small_trainer(executor="reference")], [sampler, sampler], 1)
    with pytest.raises(InputError, match="steps"):
        fit_together([trainer], [sampler], -1)
    assert trainer.step == 0


def test_an_interrupt_is_raised_after_the_whole_steps_are_kept(history, monkeypatch):
    from diffhpo.kernels import training

    whole, trainer = small_trainer(executor="cpu"), small_trainer(executor="cpu")
    whole.fit(Sampler(history), 3)
    train = training.train

    def interrupted(problem, state, losses, **options):
        train(problem, state, losses[:, :3].contiguous(), **options)
        losses[:, :3] = torch.tensor(whole.losses, dtype=torch.float64)
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(Sampler(history), 10)
    assert trainer.step == 3
    assert trainer.losses == whole.losses
    assert torch.equal(weights(trainer), weights(whole))


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
    with pytest.raises(InputError, match="executor is 'cuda'"):
        small_trainer(executor="cuda")
    with pytest.raises(InputError, match="seed is -1"):
        small_trainer(seed=-1)
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
