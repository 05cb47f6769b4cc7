"""Every format gives the same arrays; what is broken ends in one message."""

import bz2
import gzip
import io
import json
import lzma
import shutil
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pytest
import safetensors.numpy
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from failpred_jax.errors import UserError
from failpred_jax.readers.reading import FORMATS, read_file


@pytest.fixture(scope='module')
def arrays():
    rng = np.random.default_rng(0)
    return {
        'labels': rng.integers(0, 3, 20),
        'logits': rng.normal(size=(20, 3)),
        'confidence_mine': 1 - rng.random(20) * 1e-12,
        'mask': rng.random(20) < 0.5,
    }


def frame(arrays, words=str):
    columns = {name: values for name, values in arrays.items() if values.ndim == 1}
    return pd.DataFrame({**columns, **{f'logits_{i}': arrays['logits'][:, i] for i in range(3)}})


def text(**how):
    def write(arrays, file):
        frame(arrays).to_csv(file, **{'index': False, **how})

    return write


def packed(opener, **how):
    def write(arrays, file):
        with opener(file, 'wb') as out:
            out.write(frame(arrays).to_csv(index=False).encode())

    return write


def zstd(arrays, file):
    with pa.CompressedOutputStream(str(file), 'zstd') as out:
        out.write(frame(arrays).to_csv(index=False).encode())


def excel(arrays, file):
    file.write_text('sep=;\n' + frame(arrays).to_csv(index=False, sep=';', decimal=','))


def json_lines(arrays, file):
    rows = [{name: values[i].tolist() for name, values in arrays.items()} for i in range(20)]
    file.write_text('\n'.join(map(json.dumps, rows)))


def json_array(arrays, file):
    file.write_text(json.dumps([{name: values[i].tolist() for name, values in arrays.items()} for i in range(20)]))


def nested(arrays):
    return pa.table({name: pa.array(list(values)) for name, values in arrays.items()})


def stream(arrays, file):
    with pa.OSFile(str(file), 'wb') as sink, pa.ipc.new_stream(sink, nested(arrays).schema) as writer:
        writer.write_table(nested(arrays))


def folder(arrays, file):
    file.mkdir()
    for name, values in arrays.items():
        np.save(file / name, values)
    (file / '._labels.npy').write_bytes(b'\x00\x05\x16\x07')


WRITERS = {
    'a.npz': lambda arrays, file: np.savez(file, **arrays),
    'deflated.npz': lambda arrays, file: np.savez_compressed(file, **arrays),
    'b.csv': text(),
    'semicolons.csv': text(sep=';', decimal=','),
    'tabs.tsv': text(sep='\t'),
    'index.csv': text(index=True),
    'quoted.csv': text(quoting=1),
    'marked.csv': text(encoding='utf-8-sig'),
    'wide.csv': text(encoding='utf-16'),
    'windows.csv': text(lineterminator='\r\n'),
    'gz.csv.gz': packed(gzip.open),
    'bz.csv.bz2': packed(bz2.open),
    'xz.csv.xz': packed(lzma.open),
    'zst.csv.zst': zstd,
    'excel.csv': excel,
    'no_suffix': text(),
    'lines.jsonl': json_lines,
    'list.json': json_array,
    'columns.parquet': lambda arrays, file: frame(arrays).to_parquet(file),
    'nested.parquet': lambda arrays, file: pa.parquet.write_table(nested(arrays), file),
    'feather.feather': lambda arrays, file: pyarrow.feather.write_feather(nested(arrays), str(file)),
    'stream.arrow': stream,
    'folder': folder,
    'torch.pt': lambda arrays, file: torch.save({k: torch.from_numpy(v) for k, v in arrays.items()}, file),
    'safe.safetensors': lambda arrays, file: safetensors.numpy.save_file(arrays, file),
    'really_csv.npz': text(),
}


@pytest.mark.parametrize('name', WRITERS)
def test_every_format_gives_the_same_arrays(name, arrays, tmp_path):
    file = tmp_path / name
    with file.open('wb') if name == 'a.npz' else io.BytesIO() as out:
        WRITERS[name](arrays, out if name == 'a.npz' else file)
    for in_place in (False, True):
        found = read_file(file, in_place)
        assert set(found) == set(arrays)
        for key, values in arrays.items():
            assert np.array_equal(found[key], values), key
            assert found[key].dtype.kind == values.dtype.kind
            assert isinstance(found[key], np.memmap) == (name == 'folder' or (name == 'a.npz' and in_place))


@pytest.mark.filterwarnings('ignore:Stored array in format 3.0')
def test_what_stays_in_an_npz_is_what_is_read_of_it(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        'order': np.asfortranarray(rng.normal(size=(3, 4))),
        'bytes': rng.integers(0, 9, (2, 3)).astype('>u2'),
        'words': np.array(['ä', 'bc']),
        'records': np.zeros(2, [('α', np.int8), ('b', np.float32)]),
        'nothing': np.zeros((0, 3)),
        'one': np.array(3.5),
        'ä' * 90: np.arange(1000),
    }
    np.savez(tmp_path / 'a.npz', **arrays)
    found = read_file(tmp_path / 'a.npz', in_place=True)
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
    assert {name for name in arrays if not isinstance(found[name], np.memmap)} == {'records', 'nothing'}


def test_a_byte_that_changed_in_an_npz_is_found_wherever_the_arrays_are(tmp_path):
    np.savez(tmp_path / 'a.npz', labels=np.arange(500), scores=np.zeros(500))
    content = bytearray((tmp_path / 'a.npz').read_bytes())
    content[content.index(np.int64(300).tobytes())] ^= 1
    (tmp_path / 'a.npz').write_bytes(bytes(content))
    for in_place in (False, True):
        with pytest.raises(UserError, match=r"array 'labels' is damaged: Bad CRC-32"):
            read_file(tmp_path / 'a.npz', in_place)


def test_a_pipe_is_read_by_its_content(arrays, tmp_path, monkeypatch):
    np.savez(tmp_path / 'a.npz', **arrays)

    class Pipe:
        buffer = io.BytesIO((tmp_path / 'a.npz').read_bytes())

    monkeypatch.setattr('sys.stdin', Pipe())
    assert np.array_equal(read_file('-')['logits'], arrays['logits'])


@pytest.mark.parametrize('content', [b'', b'a\n', b'PK\x03\x04 no', b'a,b\n'])
def test_what_is_wrong_with_a_pipe_is_said_of_standard_input(content, monkeypatch):
    monkeypatch.setattr('sys.stdin', SimpleNamespace(buffer=io.BytesIO(content)))
    with pytest.raises(UserError, match='^standard input ') as error:
        read_file('-')
    assert 'piped' not in str(error.value)


def test_columns_named_by_class_keep_their_names(tmp_path):
    (tmp_path / 'a.csv').write_text('labels,probs_owl,probs_cat\ncat,0.25,0.75\nowl,0.5,0.5\n')
    found = read_file(tmp_path / 'a.csv')
    assert found['class_names'].tolist() == ['owl', 'cat']
    assert found['probs'].tolist() == [[0.25, 0.75], [0.5, 0.5]]


def test_ten_thousand_columns_are_read_and_two_of_one_name_are_found_among_them(tmp_path):
    """Each is looked up. Compared with all others, they took most of the time of a csv of 20,000 classes."""
    names = [f'probs_class {i}' for i in range(10_000)]
    file, values = tmp_path / 'wide.csv', np.arange(20_000).reshape(2, 10_000)
    for header in (names, [*names[:-1], names[4]]):
        rows = [['labels', *header], *(['x', *map(str, row)] for row in values)]
        file.write_text('\n'.join(map(','.join, rows)))
        if header is names:
            found = read_file(file)
            np.testing.assert_array_equal(found['probs'], values)
            assert found['class_names'].tolist() == [name.removeprefix('probs_') for name in names]
    with pytest.raises(UserError, match="several columns named 'probs_class 4'"):
        read_file(file)


def test_bfloat16_is_read_from_raw_words_and_from_safetensors(tmp_path):
    values = np.array([0.5, 1.0, -3.0], ml_dtypes.bfloat16)
    np.savez(tmp_path / 'a.npz', logits=values)
    found = read_file(tmp_path / 'a.npz')
    assert found['logits'].tolist() == [0.5, 1.0, -3.0]
    assert 'bfloat16' in found.notes[0]


def test_integers_beyond_float64_stay_exact(tmp_path):
    large = np.array([2**62 + 1, 2**62 + 3])
    pd.DataFrame({'a': large, 'b': [1, 2]}).to_csv(tmp_path / 'a.csv', index=False)
    assert np.array_equal(read_file(tmp_path / 'a.csv')['a'], large)


BROKEN = {
    'twins': ('a.csv', b'labels,confidence_a,confidence_a\n0,1,2\n', 'several columns named .confidence_a'),
    'gap': ('a.csv', b'labels,features_0,features_2\n0,1,2\n', 'without gaps'),
    'superscript': ('a.csv', 'labels,logits_²\n0,1\n'.encode(), None),
    'ragged': ('a.csv', b'labels,logits_0\n0,1\n0\n', 'Expected 2 columns'),
    'no rows': ('a.csv', b'labels,logits_0\n', 'no rows'),
    'empty': ('a.npz', b'', 'empty'),
    'one array': ('a.npy', None, 'without a name'),
    'bad gzip': ('a.csv.gz', b'\x1f\x8b\x08\x00junk', 'damaged'),
    'nested too deep': ('a.json', b'[' * 100_000, 'cannot be read'),
    'ragged lists': ('a.jsonl', b'{"l": [1, 2]}\n{"l": [1]}\n', 'different lengths'),
}


@pytest.mark.parametrize('case', BROKEN)
def test_what_is_broken_is_one_message(case, tmp_path):
    name, content, words = BROKEN[case]
    if content is None:
        np.save(tmp_path / name, np.zeros(3))
    else:
        (tmp_path / name).write_bytes(content)
    if words is None:
        # A name, not a number: no class 2.
        assert read_file(tmp_path / name)['class_names'].tolist() == ['²']
        return
    with pytest.raises(UserError, match=words):
        read_file(tmp_path / name)


def test_words_of_json_that_look_like_times_stay_words(tmp_path):
    rows = [{'when': '2026-01-01T10:00:00', 'n': 1}, {'when': None, 'n': 2}, {'when': '2026-01-02 10:00:00', 'n': 3}]
    (tmp_path / 'lines.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    (tmp_path / 'array.json').write_text(json.dumps(rows))
    for name in ('lines.jsonl', 'array.json'):
        found = read_file(tmp_path / name)
        assert list(found) == ['when', 'n']
        assert found['when'].tolist() == ['2026-01-01T10:00:00', '', '2026-01-02 10:00:00']


def test_nothing_is_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (exec, ('raise SystemExit("unpickled")',))

    np.savez(tmp_path / 'a.npz', labels=np.array([Bomb()], object))
    torch.save({'labels': Bomb()}, tmp_path / 'a.pt')
    for name in ('a.npz', 'a.pt'):
        with pytest.raises(UserError, match='unpickled|weights_only'):
            read_file(tmp_path / name)


@settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_bytes_end_in_arrays_or_in_one_message(data, arrays, tmp_path):
    name = data.draw(st.sampled_from(sorted(WRITERS)))
    whole = original = tmp_path / f'original_{name}'
    if not original.exists():
        WRITERS[name](arrays, original)
    if name == 'folder':
        original = whole / data.draw(st.sampled_from(['labels.npy', 'logits.npy', 'mask.npy']))
    content = bytearray(original.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        if data.draw(st.booleans()):
            content[at] = data.draw(st.integers(0, 255))
        else:
            del content[at : at + data.draw(st.integers(1, 40))]
            content = content or bytearray(b'x')
    file = tmp_path / f'mutant_{name}'
    if name == 'folder':
        shutil.copytree(whole, file, dirs_exist_ok=True)
        (file / original.name).write_bytes(content)
    else:
        file.write_bytes(content)
    found = {}
    try:
        found = read_file(file)
    except UserError as error:
        assert str(error)
    else:
        assert all(isinstance(value, np.ndarray) for value in found.values())
    # Of a file that gives arrays, what stays in it is the same, or is found to be damaged.
    try:
        mapped = read_file(file, in_place=True)
    except UserError:
        return
    for key, value in mapped.items():
        assert value.tobytes() == found[key].tobytes()


def test_every_format_says_what_it_is():
    for name in FORMATS:
        assert FORMATS[name].name
        assert FORMATS[name].suffixes


def test_outputs_that_are_numbers_in_words_are_numbers(tmp_path):
    words = pd.DataFrame({'labels': ['0', '1'], 'probs_0': ['0.25', '1e-3'], 'probs_1': ['0.75', '.999']})
    words.to_parquet(tmp_path / 'x.parquet')
    words.to_json(tmp_path / 'x.jsonl', orient='records', lines=True)
    for name in ('x.parquet', 'x.jsonl'):
        np.testing.assert_array_equal(read_file(tmp_path / name)['probs'], [[0.25, 0.75], [0.001, 0.999]])
    words.assign(probs_1=['0.75', '']).to_parquet(tmp_path / 'x.parquet')
    with pytest.raises(UserError, match="one holds '' in row 2"):
        read_file(tmp_path / 'x.parquet')
