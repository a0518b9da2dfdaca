import pytest
import torch

from alignimation_core.api import geometry


def picture(*shape, dtype=torch.float32):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(3), dtype=dtype)


def test_whole_pixel_boxes_at_scale_one_equal_slicing_to_the_bit():
    image = picture(3, 37, 61)
    for x0, y0, x1, y1 in [(0, 0, 61, 37), (5, 3, 23, 30), (60, 36, 61, 37), (0, 11, 61, 12)]:
        cut = geometry.crop(image, torch.tensor([x0, y0, x1, y1]), (y1 - y0, x1 - x0))
        assert cut.dtype == torch.float32
        assert torch.equal(cut, image[:, y0:y1, x0:x1])


def test_a_box_partly_outside_is_padded():
    image = picture(1, 6, 8)
    box = torch.tensor([-2.0, 1.0, 3.0, 8.0])
    zeros = geometry.crop(image, box, (7, 5))
    assert torch.equal(zeros[:, :5, 2:], image[:, 1:, :3])
    assert zeros[:, :, :2].abs().max() == 0
    torch.testing.assert_close(zeros[:, 5:], torch.zeros(1, 2, 5), rtol=0, atol=1e-12)
    border = geometry.crop(image, box, (7, 5), padding="border")
    assert torch.equal(border[:, :5, 2:], image[:, 1:, :3])
    assert torch.equal(border[:, :5, :1], image[:, 1:, :1])
    assert torch.equal(border[:, 6, 2:], image[:, 5, :3])


def test_a_linear_ramp_is_resampled_at_pixel_centres():
    x = torch.arange(20, dtype=torch.float64) + 0.5
    y = torch.arange(10, dtype=torch.float64) + 0.5
    ramp = (x[None, :] + 100 * y[:, None])[None]
    cut = geometry.crop(ramp, torch.tensor([4.25, 2.5, 13.25, 6.5]), (3, 6))
    wanted_x = 4.25 + (torch.arange(6) + 0.5) * 9 / 6
    wanted_y = 2.5 + (torch.arange(3) + 0.5) * 4 / 3
    torch.testing.assert_close(
        cut[0], (wanted_x[None, :] + 100 * wanted_y[:, None]).double(), rtol=0, atol=1e-4
    )


def test_one_image_with_many_boxes_and_many_images_with_one_box():
    images = picture(2, 3, 12, 10)
    boxes = torch.tensor([[1.0, 2.0, 6.0, 9.0], [-3.0, 0.5, 4.0, 20.0]])
    size = (5, 4)
    each = torch.stack([geometry.crop(images[0], box, size) for box in boxes])
    assert torch.equal(geometry.crop(images[0], boxes, size), each)
    shared = torch.stack([geometry.crop(image, boxes[1], size) for image in images])
    assert torch.equal(geometry.crop(images, boxes[1], size), shared)
    assert geometry.crop(images[0], boxes[0], size).shape == (3, 5, 4)
    paired = geometry.crop(images, boxes, size)
    assert torch.equal(paired[1], geometry.crop(images[1], boxes[1], size))


@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_gradients_in_image_and_box(padding):
    image = picture(2, 2, 7, 9, dtype=torch.float64).requires_grad_()
    boxes = torch.tensor(
        [[1.13, 0.71, 6.37, 5.29], [-2.21, 3.17, 4.43, 9.61]], dtype=torch.float64
    ).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda image, box: geometry.crop(image, box, (3, 4), padding=padding), (image, boxes)
    )


def test_gradient_descent_finds_the_box_that_was_cut():
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(64.0), indexing="ij")
    image = torch.exp(-((x - 30) ** 2 + 1.5 * (y - 20) ** 2) / 150)[None]
    true = torch.tensor([12.0, 6.0, 50.0, 36.0])
    wanted = geometry.crop(image, true, (15, 19))
    box = torch.tensor([15.0, 4.0, 47.0, 38.0], requires_grad=True)
    adam = torch.optim.Adam([box], lr=0.2)
    for step in range(300):
        adam.param_groups[0]["lr"] = 0.2 * (1 - step / 300)
        adam.zero_grad()
        (geometry.crop(image, box, (15, 19)) - wanted).square().mean().backward()
        adam.step()
    torch.testing.assert_close(box.detach(), true, rtol=0, atol=0.05)
