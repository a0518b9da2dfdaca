"""Masks and other grids on a canvas; plain matrices, and numbers as tensors and back."""

import math

import pytest
import torch

from alignimation_core.api import geometry


@pytest.mark.parametrize(("across", "down"), [(0.25, 0.5), (0.5, 0.125), (1.0, 0.25), (2.0, 3.0)])
def test_a_grid_is_drawn_at_its_place_and_is_0_around(across, down):
    y, x = torch.meshgrid(torch.arange(48) + 0.5, torch.arange(80) + 0.5, indexing="ij")
    grid = 0.5 + 0.3 * torch.sin(x / 12) + 0.2 * torch.cos(y / 9)
    size = (round(48 * down) + 6, round(80 * across) + 8)
    placed = geometry.translation(3, 2) @ geometry.scaling(across, down)
    seen = geometry.draw(grid, placed, size)
    assert seen.shape == size
    v, u = torch.meshgrid(torch.arange(size[0]) + 0.5, torch.arange(size[1]) + 0.5, indexing="ij")
    truth = 0.5 + 0.3 * torch.sin((u - 3) / across / 12) + 0.2 * torch.cos((v - 2) / down / 9)
    inner = (slice(2 + math.ceil(down), -4 - math.ceil(down)), slice(5, -7))
    torch.testing.assert_close(seen[inner], truth[inner], atol=0.02, rtol=0)
    assert seen[0].abs().max() == 0
    assert seen[:, :2].abs().max() == 0
    assert seen[-2:].abs().max() == 0
    assert seen[:, -3:].abs().max() == 0


def test_stripes_of_one_pixel_of_a_grid_become_grey():
    stripes = torch.zeros(64, 96)
    stripes[:, ::2] = 1
    seen = geometry.draw(stripes, geometry.scaling(0.21, 1), (64, 20))
    assert (seen[:, 2:-2] - 0.5).abs().max() < 0.03
    seen = geometry.draw(stripes.T, geometry.scaling(1, 0.21), (20, 64))
    assert (seen[2:-2] - 0.5).abs().max() < 0.03


def test_a_grid_at_its_own_size_is_drawn_to_the_bit():
    grid = torch.rand(5, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        geometry.draw(grid, geometry.scaling(1, 1), (5, 7)), grid, atol=1e-6, rtol=0
    )
    larger = geometry.scaling(2, 3)
    warped = geometry.warp(grid[None], larger, (15, 14))[0]
    assert torch.equal(geometry.draw(grid, larger, (15, 14)), warped)
    assert geometry.draw(grid[:1, :1], geometry.scaling(0.1, 0.1), (3, 3)).shape == (3, 3)


@pytest.mark.parametrize("rows", [[[1, 2, 3], [4, 5, 6]], [1, 2, 3, 4, 5, 6]])
def test_a_table_of_rows_or_of_their_numbers(rows):
    wanted = torch.tensor([[1.0, 2, 3], [4, 5, 6]], dtype=torch.float64)
    torch.testing.assert_close(geometry.table(rows, 3), wanted, atol=0, rtol=0)
    assert geometry.table([], 3).shape == (0, 3)


def test_a_matrix_goes_to_rows_of_floats_and_back():
    rows = ((1.1, 2.0, 3.0), (4.0, 5.2, 6.0), (7.0, 8.0, 9.3))
    matrix = geometry.as_tensor(rows)
    assert matrix.dtype == torch.float64
    assert geometry.as_rows(matrix.requires_grad_()) == rows


def test_plain_matrices_move_points_as_they_say():
    points = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 2.0]], dtype=torch.float64)

    def moved(matrix):
        return geometry.apply(matrix, points)

    torch.testing.assert_close(
        moved(geometry.translation(5, -7)), points + points.new_tensor([5, -7])
    )
    torch.testing.assert_close(moved(geometry.scaling(5, -7)), points * points.new_tensor([5, -7]))
    quarter = points.new_tensor([[0, 0], [0, 3], [-2, 0]])
    torch.testing.assert_close(moved(geometry.rotation(math.pi / 2)), quarter)
    frame = geometry.normalised_from_pixels((4, 6))
    torch.testing.assert_close(moved(frame), points.new_tensor([[-1, -1], [0, -1], [-1, 0]]))


def test_among_homographies_the_inverse_of_an_affine_matrix_is_affine_to_the_bit(monkeypatch):
    exact = torch.linalg.inv
    amiss = torch.tensor([[0, 0, 0], [0, 0, 0], [5e-19, -3e-19, -1e-16]], dtype=torch.float64)
    monkeypatch.setattr(torch.linalg, "inv", lambda matrices: exact(matrices) + amiss)
    affine = geometry.translation(3, 4) @ geometry.rotation(0.3)
    tilted = affine.clone()
    tilted[2, 0] = 0.01
    inverses = geometry.inverse(torch.stack([tilted, affine]))
    assert torch.equal(inverses[1, 2], affine[2])
    torch.testing.assert_close(inverses[0] @ tilted, torch.eye(3, dtype=torch.float64))
