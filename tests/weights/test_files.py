"""Files of arrays: read whatever their container, and refused in one message where they cannot be weights."""

import sys

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from failpred_jax.errors import UserError
from failpred_jax.weights.files import read_arrays

torch = pytest.importorskip('torch')

PLAIN = {'a.weight': np.arange(6, dtype=np.float32).reshape(2, 3), 'a.bias': np.ones(2, np.float32)}


def tensors(arrays):
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def save_as(kind, path, arrays):
    if kind == 'npz':
        with path.open('wb') as file:  # np.savez would add its own ending
            np.savez(file, **arrays)
    elif kind == 'safetensors':
        safetensors.numpy.save_file(arrays, path)
    else:
        torch.save(tensors(arrays), path, _use_new_zipfile_serialization=kind == 'torch')


def assert_same(found, expected=PLAIN):
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize('kind', ['npz', 'safetensors', 'torch', 'torch of old'])
def test_containers_are_told_apart_by_their_content(kind, tmp_path):
    save_as(kind, tmp_path / 'weights', PLAIN)
    assert_same(read_arrays(str(tmp_path / 'weights')))


@pytest.mark.parametrize(
    'wrap',
    [
        lambda state: {'model_state_dict': state, 'epoch': 3, 'optimizer_state_dict': {'state': {}}},
        lambda state: {'state_dict': {f'module.{k}': v for k, v in state.items()}},
        lambda state: {f'_orig_mod.module.{k}': v for k, v in state.items()},
        lambda state: {'model': {f'model.net.{k}': v for k, v in state.items()}},
        lambda state: {**state, 'bn.num_batches_tracked': torch.tensor(7)},
    ],
    ids=['checkpoint', 'parallel', 'compiled', 'nested', 'counter'],
)
def test_wrappers_and_prefixes_are_taken_off(wrap, tmp_path):
    torch.save(wrap(tensors(PLAIN)), tmp_path / 'a.pt')
    assert_same(read_arrays(str(tmp_path / 'a.pt')))


def test_short_and_long_floats_become_float32(tmp_path):
    state = {
        'a': torch.tensor([0.5, 3.0]).bfloat16(),
        'b': torch.tensor([0.5]).half(),
        'c': torch.tensor([0.1]).double(),
    }
    torch.save(state, tmp_path / 'a.pt')
    expected = {'a': np.float32([0.5, 3.0]), 'b': np.float32([0.5]), 'c': np.float32([0.1])}
    assert_same(read_arrays(str(tmp_path / 'a.pt')), expected)
    safetensors.numpy.save_file({'a': expected['a'].astype(ml_dtypes.bfloat16)}, tmp_path / 'a.safetensors')
    assert_same(read_arrays(str(tmp_path / 'a.safetensors')), {'a': expected['a']})


@pytest.mark.filterwarnings('ignore:.*quantize')
def test_whatever_cannot_be_weights_is_named_at_once(tmp_path):
    state = {
        'whole': torch.zeros(2, dtype=torch.int64),
        'complex': torch.zeros(2, dtype=torch.complex64),
        'sparse': torch.eye(3).to_sparse(),
        'meta': torch.empty(2, device='meta'),
        'quantized': torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        'nan': torch.tensor([1.0, float('nan'), float('inf')]),
        'text': 'abc',
        'too_large': torch.tensor([1e300]).double(),
        'good': torch.zeros(2),
    }
    torch.save(state, tmp_path / 'a.pt')
    with pytest.raises(UserError) as error:
        read_arrays(str(tmp_path / 'a.pt'))
    message = str(error.value)
    for words in (
        'whole is of int64',
        'complex is of complex64',
        'sparse is sparse',
        'meta is without data',
        'quantized is quantized',
        'nan has 2 values that are NaN or infinite',
        'text is a str',
        'too_large has 1 values',
    ):
        assert words in message
    assert 'good' not in message


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        ({0: torch.zeros(2), 1: torch.zeros(2)}, 'keys that are no names: 0, 1'),
        ([1, 2], 'is a list; it must be a state dict'),
        ({'epoch': 3, 'loss': 0.5}, "holds 'epoch', 'loss'; it must be a state dict"),
        ({'model_state_dict': {}}, 'holds no arrays'),
    ],
    ids=['numbers', 'list', 'no arrays', 'empty'],
)
def test_other_content_is_refused_in_words(content, words, tmp_path):
    torch.save(content, tmp_path / 'a.pt')
    with pytest.raises(UserError, match=words):
        read_arrays(str(tmp_path / 'a.pt'))


class Payload:
    def __reduce__(self):
        return (open, (self.path, 'w'))


def test_code_in_a_file_is_never_run(tmp_path):
    payload = Payload()
    payload.path = str(tmp_path / 'was-here')
    torch.save({'model_state_dict': payload}, tmp_path / 'bad.ckpt')
    with (tmp_path / 'bad.npz').open('wb') as file:
        np.savez(file, a=np.array([payload], dtype=object))
    for name in ('bad.ckpt', 'bad.npz'):
        with pytest.raises(UserError, match='never run'):
            read_arrays(str(tmp_path / name))
    assert not (tmp_path / 'was-here').exists()


@pytest.mark.parametrize('kind', ['npz', 'safetensors', 'torch'])
def test_damaged_files_are_named(kind, tmp_path):
    path = tmp_path / 'weights'
    save_as(kind, path, PLAIN)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:10], b''):
        path.write_bytes(content)
        with pytest.raises(UserError, match='cannot be read') as error:
            read_arrays(str(path))
        assert str(path) in str(error.value)
    with pytest.raises(UserError, match='there is no file'):
        read_arrays(str(tmp_path / 'nowhere'))


def test_absence_of_torch_says_what_to_install(monkeypatch, tmp_path):
    save_as('torch', tmp_path / 'a.ckpt', PLAIN)
    save_as('npz', tmp_path / 'a.npz', PLAIN)
    monkeypatch.setitem(sys.modules, 'torch', None)
    with pytest.raises(UserError, match=r"pip install 'failpred_jax\[torch\]'"):
        read_arrays(str(tmp_path / 'a.ckpt'))
    assert_same(read_arrays(str(tmp_path / 'a.npz')))
