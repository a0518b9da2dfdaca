import importlib.util
import threading
import time

import pytest
import torch

from alignimation_core import Recipe
from alignimation_core.api.errors import AlignimationError, RecipeError
from alignimation_core.execution.executor import AHEAD, Threads
from alignimation_core.execution.factory import executor_of
from alignimation_core.recipe.options import ExecutorOptions


def test_answers_come_in_the_order_of_the_batches():
    def slow_first(items):
        time.sleep(0.2 if items[0] == 0 else 0)
        return [10 * item for item in items]

    batches = [[0, 1], [2], [3, 4, 5], [6]]
    answers = list(Threads(3).map(slow_first, batches))
    assert answers == [[0, 10], [20], [30, 40, 50], [60]]


def test_only_a_few_batches_are_taken_ahead_of_the_answers():
    taken = []

    def batches():
        for i in range(100):
            taken.append(i)
            yield [i]

    answers = Threads(2).map(lambda items: items, batches())
    for i in range(20):
        assert next(answers) == [i]
        assert len(taken) <= i + 2 + AHEAD
    answers.close()


def test_every_worker_is_used_and_none_computes_with_more_than_one_core():
    before = torch.get_num_threads()
    everybody = threading.Barrier(3)

    def work(items):
        everybody.wait(timeout=30)
        return [torch.get_num_threads()]

    assert list(Threads(3).map(work, [[0], [1], [2]])) == [[1]] * 3
    assert torch.get_num_threads() == before


def test_an_exception_comes_out_as_it_is_and_ends_the_work():
    done = []

    def work(items):
        if items == [3]:
            raise AlignimationError("no weights")
        done.append(items)
        return items

    answers = Threads(1).map(work, ([i] for i in range(100)))
    assert [next(answers) for _ in range(3)] == [[0], [1], [2]]
    with pytest.raises(AlignimationError, match="no weights"):
        next(answers)
    assert len(done) <= 3 + AHEAD


def test_the_recipe_says_how_many_workers():
    with executor_of(ExecutorOptions(workers=3)) as executor:
        assert isinstance(executor, Threads)
        assert executor.cores == 3
    with executor_of(ExecutorOptions()) as executor:
        assert executor.cores == torch.get_num_threads()


@pytest.mark.parametrize(
    ("executor", "field", "why"),
    [
        (
            {"gpus": 1},
            "executor",
            "address and gpus are for `use: ray`; leave them out",
        ),
        (
            {"use": "ray", "gpus": 1.5},
            "executor.gpus",
            "1.5 is neither a share of one GPU nor a whole number of them",
        ),
    ],
)
def test_options_that_cannot_be_are_faults_of_the_recipe(tmp_path, executor, field, why):
    data = {"photos": "photos", "detector": "mtcnn", "executor": executor}
    with pytest.raises(RecipeError) as error:
        Recipe.of(data, folder=tmp_path)
    assert str(error.value) == f"recipe: {field}: {why}"


def test_ray_is_missed_before_anything_is_done(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RecipeError) as error:
        Recipe.of({"photos": "a", "detector": "mtcnn", "executor": "ray"}, folder=tmp_path)
    assert str(error.value) == (
        "recipe: executor.use: ray is not installed: pip install 'alignimation[ray]'"
    )
