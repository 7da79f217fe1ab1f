"""Masks lie on the grid of their input, whatever its orientation, with the ids of the training labels."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from medloss.apps.common.errors import UserError
from medloss.apps.common.images import load_volume, save_volume
from medloss.apps.segmentation import predict as prediction
from medloss.apps.segmentation import train as training

pytestmark = pytest.mark.filterwarnings("ignore")


class Threshold:
    """Stands in for the network: class 1 above 0, class 2 above 1 of the normalised image; says where, not how well."""

    def __call__(self, inputs):
        import torch

        return 50 * torch.cat([torch.zeros_like(inputs), inputs, 2 * inputs - 1], 1)


def reorient(source, target, codes):
    """The same volume with its voxels stored along other axes."""
    image = nib.load(source)
    change = nib.orientations.ornt_transform(nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(codes))
    nib.save(image.as_reoriented(change), target)
    return target


def predict_with_threshold(monkeypatch, run, source, output, **changes):
    folder, config = training.load_run(run)
    config = config.model_copy(update={"data": config.data.model_copy(update=changes)})
    monkeypatch.setattr(prediction, "load_run", lambda path: (folder, config))
    monkeypatch.setattr(prediction, "build_network", lambda *_: _Module())
    return prediction.predict(run, [source], output, progress=False)[0]


def _Module():
    import torch

    class Module(torch.nn.Module):
        def forward(self, inputs):
            return Threshold()(inputs)

        def load_state_dict(self, *_):
            pass

    return Module()


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR", "SLA"])
def test_any_orientation_gives_the_same_mask_in_space(trained, dataset, tmp_path, monkeypatch, codes):
    source = dataset / "images" / "case_3.nii.gz"
    turned = reorient(source, tmp_path / "turned.nii.gz", codes)
    masks = [predict_with_threshold(monkeypatch, trained, each, tmp_path / "masks") for each in (source, turned)]
    image, mask = nib.load(turned), nib.load(masks[1])
    assert mask.shape == image.shape
    np.testing.assert_array_equal(mask.affine, image.affine)
    assert mask.get_data_dtype() == np.uint8
    back = nib.load(reorient(masks[1], tmp_path / "back.nii.gz", "".join(nib.aff2axcodes(nib.load(source).affine))))
    np.testing.assert_array_equal(np.asarray(back.dataobj), np.asarray(nib.load(masks[0]).dataobj))
    assert set(np.unique(np.asarray(mask.dataobj))) == {0, 2, 4}


@pytest.mark.parametrize("codes", ["RAS", "PIL"])
def test_resampling_is_undone(trained, dataset, tmp_path, monkeypatch, codes):
    source = reorient(dataset / "images" / "case_3.nii.gz", tmp_path / "turned.nii.gz", codes)
    exact = predict_with_threshold(monkeypatch, trained, source, tmp_path / "exact")
    near = predict_with_threshold(monkeypatch, trained, source, tmp_path / "near", spacing=(0.8, 0.8, 0.8))
    image, mask = nib.load(source), nib.load(near)
    assert mask.shape == image.shape
    np.testing.assert_array_equal(mask.affine, image.affine)
    a, b = (np.asarray(nib.load(each).dataobj) > 0 for each in (exact, near))
    assert 2 * (a & b).sum() / (a.sum() + b.sum()) > 0.9


def test_a_bare_nifti_and_an_itk_file(trained, dataset, tmp_path):
    volume = load_volume(dataset / "images" / "case_1.nii.gz")
    bare = nib.Nifti1Image(volume.array, None)  # neither qform nor sform
    nib.save(bare, tmp_path / "bare.nii")
    save_volume(tmp_path / "other.mha", volume.array, volume)
    masks = prediction.predict(trained, [tmp_path / "bare.nii", tmp_path / "other.mha"], tmp_path / "m", progress=False)
    assert [mask.name for mask in masks] == ["bare.nii", "other.mha"]
    assert nib.load(masks[0]).header["sform_code"] == nib.load(tmp_path / "bare.nii").header["sform_code"]
    mask, image = load_volume(masks[1]), load_volume(tmp_path / "other.mha")
    np.testing.assert_allclose(mask.affine, image.affine, atol=1e-6)
    assert mask.array.shape == image.array.shape


def test_probabilities_and_mirrored_average(trained, dataset, tmp_path):
    output = tmp_path / "masks"
    masks = prediction.predict(trained, [dataset / "images"], output, tta=True, probabilities=True, progress=False)
    assert len(masks) == 5
    image = nib.load(output / "case_1_probabilities.nii.gz")
    found = np.asarray(image.dataobj)
    assert found.shape == (*nib.load(masks[0]).shape, 3)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)
    table = np.array([0, 2, 4])
    np.testing.assert_array_equal(table[found.argmax(-1)], np.asarray(nib.load(masks[0]).dataobj))


def test_nothing_is_overwritten_unasked(trained, dataset, tmp_path):
    source = dataset / "images" / "case_1.nii.gz"
    with pytest.raises(UserError, match="replace its own input"):
        prediction.predict(trained, [source], dataset / "images", overwrite=True, progress=False)
    with pytest.raises(UserError, match="--overwrite"):
        prediction.predict(trained, [source], dataset / "labels", progress=False)
    prediction.predict(trained, [source], progress=False)
    prediction.predict(trained, [source], progress=False)  # the run's own predictions are replaced


def test_a_faulty_input_stops_before_the_first_mask(trained, dataset, tmp_path):
    (tmp_path / "bad.nii.gz").write_bytes(b"hello")
    with pytest.raises(UserError, match=r"bad\.nii\.gz"):
        prediction.predict(trained, [dataset / "images", tmp_path / "bad.nii.gz"], tmp_path / "m", progress=False)
    assert not (tmp_path / "m").exists()
