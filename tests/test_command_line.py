"""What is said on the command line, and what the program says when it ends."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from failpred_jax import command_line, main, terminal
from failpred_jax.errors import UserError
from failpred_jax.registry import COMMANDS
from failpred_jax.stopping import Stopped

ROOT = Path(__file__).parents[1]


def parse(*words):
    return command_line.parse(['failpred', *words])


@pytest.fixture(autouse=True)
def in_a_checkout(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_the_help_tells_of_every_command_and_every_flag():
    text = command_line.help_text()
    for mode in COMMANDS:
        assert f'{mode} ' in text
        assert COMMANDS[mode].summary in text
        for flag in COMMANDS[mode].flags:
            assert f'--{flag.name}' in text
    for flag in (*command_line.SHARED, *command_line.JOB):
        assert f'--{flag.name}' in text


def test_a_reader_that_has_read_enough_of_the_help_is_told_nothing():
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, '-m', 'failpred_jax', '--help']
    done = subprocess.run(words, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, '')


def test_help_and_a_misspelled_flag_are_answered_without_jax():
    code = (
        'import sys; from failpred_jax import main; '
        "codes = [main.main(['failpred', word]) for word in ('--help', '--version')]; "
        "codes.append(main.main(['failpred', '--config=configs/digits.py', '--wrkdir=x'])); "
        "print(codes, [name for name in ('jax', 'flax', 'numpy', 'plotly') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == '[0, 0, 2] []', done.stderr


def test_every_flag_belongs_to_the_commands_that_declare_it():
    for mode in COMMANDS:
        for flag in COMMANDS[mode].flags:
            other = next(m for m in COMMANDS if flag not in COMMANDS[m].flags)
            with pytest.raises(UserError, match=f'--{flag.name} is for .*--mode={mode}.*, but --mode is {other}'):
                parse('--config=configs/digits.py', f'--mode={other}', f'--{flag.name}=1')


def test_of_several_values_for_one_key_the_last_counts():
    words = ('--config.seeds=0,1', '--config.baseline.epochs=3', '--config.seeds=5', '--config.baseline.epochs=4')
    _, given = parse('--config=configs/digits.py', *words)
    assert tuple(given.config.seeds) == (5,)
    assert given.config.baseline.epochs == 4


@pytest.mark.parametrize(
    ('word', 'found'),
    [
        ('evaluate.shifts=blur:3,glyphs', ('blur:3', 'glyphs')),
        ('evaluate.shifts=glyphs', ('glyphs',)),
        ("evaluate.shifts=('blur:3', 'glyphs')", ('blur:3', 'glyphs')),
        ('baseline.recipes=sam,swa', ('sam', 'swa')),
        ('baseline.init_from=/a,b:c', '/a,b:c'),
    ],
)
def test_words_with_commas_are_a_tuple_where_the_option_is_one(word, found):
    _, given = command_line.parse(['failpred', '--config=digits', f'--config.{word}'])
    value = given.config
    for key in word.partition('=')[0].split('.'):
        value = value[key]
    assert value == found


@pytest.mark.parametrize('words', [('--config=digits',), ('--config', 'digits'), ('--config=configs/digits.py',)])
def test_an_example_is_found_by_its_name_and_from_anywhere(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, given = parse(*words)
    assert given.config.data.source == 'digits'
    assert given.workdir == Path('runs/digits')
    with pytest.raises(UserError, match="no example of that name.*; did you mean 'digits'.*mnist"):
        parse('--config=digit')


def test_all_ways_to_start_are_one_program():
    done = [
        subprocess.run([sys.executable, '-m', name, '--version'], cwd=ROOT, capture_output=True, text=True, timeout=60)
        for name in ('failpred_jax', 'failpred_jax.main')
    ]
    assert done[0].stdout == done[1].stdout == 'failpred_jax 0.1.0\n'
    assert 'failpred = failpred_jax.main:main' in (ROOT / 'setup.cfg').read_text()


@pytest.mark.parametrize(
    ('words', 'environ', 'said'),
    [
        ((), {}, 'failpred_jax 0.1.0 starts\n'),
        (('--process_id=1',), {}, ''),
        ((), {'SLURM_PROCID': '1'}, ''),
        ((), {'JAX_PROCESS_ID': '1'}, ''),
    ],
)
def test_the_first_word_comes_before_anything_is_imported_and_once_for_a_job(words, environ, said, monkeypatch, capsys):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    def stop(argv):
        raise UserError('that is all')

    monkeypatch.setattr(command_line, 'parse', stop)
    assert main.main(['failpred', *words]) == 2
    assert capsys.readouterr().out == said


ENDS = {
    2: [UserError('no'), MemoryError('Unable to allocate 9 GiB'), OSError(28, 'No space left on device', '/x')],
    75: [Stopped('SIGTERM: saved')],
    130: [KeyboardInterrupt()],
    141: [BrokenPipeError(32, 'Broken pipe')],
}


@pytest.mark.parametrize(('code', 'error'), [(code, error) for code, errors in ENDS.items() for error in errors])
def test_every_end_is_one_message_and_a_code(code, error, monkeypatch, capsys):
    def fail(argv):
        raise error

    monkeypatch.setattr(main, '_run', fail)
    assert main.main(['failpred']) == code
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert str(error.args[-1] if error.args else '') in lines[0] or isinstance(error, BrokenPipeError)


def test_an_interrupt_while_packages_are_imported_is_one_line():
    """Compiled modules turn it into an ImportError or a SystemError, and what imports them into something else."""
    code = (
        'import os, signal, time; from failpred_jax import command_line, main\n'
        'def parse(argv):\n'
        '    try:\n        os.kill(os.getpid(), signal.SIGINT); time.sleep(60)\n'
        "    except BaseException as error:\n        raise ImportError('cannot initialize') from error\n"
        "command_line.parse = parse; main.main(['failpred', '--config=digits'])"
    )
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (130, 'stopped at once: run the same command again\n')


def test_an_error_of_ours_stays_a_traceback(monkeypatch):
    def fail(argv):
        raise ZeroDivisionError

    monkeypatch.setattr(main, '_run', fail)
    with pytest.raises(ZeroDivisionError):
        main.main(['failpred'])


@pytest.mark.parametrize('encoding', ['ascii', 'latin-1', 'cp437', 'utf-8'])
def test_a_table_can_be_printed_on_any_terminal(encoding, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, 'stdout', stream)
    terminal.never_fail_to_print()
    print('AURC ↓ 1.2 ± 0.1, Müller 数', flush=True)
    written = stream.buffer.getvalue().decode(encoding)
    assert written.startswith({'utf-8': 'AURC ↓ 1.2 ± 0.1, Müller 数'}.get(encoding, 'AURC v 1.2 '))
    assert '+/-' in written or '±' in written


def test_the_decisions_of_a_file_have_options_without_an_experiment():
    words = ['failpred', '--mode=decide', '--predictions=p.npz', '--config.decide.kind=generalized']
    _, given = command_line.parse(words)
    assert given.config.decide.kind == 'generalized'
    with pytest.raises(UserError, match='--config=FILE is missing'):
        command_line.parse([*words[:3], '--config.seed=1'])


def test_one_dash_is_as_good_as_two():
    _, one = parse(
        '-config=digits', '-workdir=x', '-config.baseline.epochs=3', '-mode=check', '-noconfig.model.dropout'
    )
    _, two = parse(
        '--config=digits', '--workdir=x', '--config.baseline.epochs=3', '--mode=check', '--noconfig.model.dropout'
    )
    assert one == two
    with pytest.raises(UserError, match="unknown flag '--wrkdir'"):
        parse('-wrkdir=x')


def test_every_path_may_begin_at_home(tmp_path, monkeypatch):
    """A shell leaves the ~ of --workdir=~/x alone, and a folder called ~ is removed with all that is at home."""
    monkeypatch.setenv('HOME', str(tmp_path))
    (tmp_path / 'mine.py').write_text('from configs.digits import get_config\n')
    texts = [flag for flag in (*command_line.SHARED, *command_line._own_flags().values()) if flag.kind is str]
    for flag in texts:
        assert command_line._value(flag, '~/x') == f'{tmp_path}/x'
    _, given = parse('--config=~/mine.py', '--workdir=~/x', '--config.data.path=~/y')
    assert given.workdir == tmp_path / 'x'
    assert given.config.data.path == f'{tmp_path}/y'
    for flag in ('workdir', 'config', 'config.data.path'):
        with pytest.raises(UserError, match="there is no home folder '~nobody.at.all'"):
            parse('--config=digits', f'--{flag}=~nobody.at.all/x')


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (('--mode=label', '--budget=many'), "--budget is 'many'; it must be an integer"),
        (('--config=digits', '--force=yes'), "--force is 'yes'; write --force, --force=true or --force=false"),
        (('--config=digits', '--wait_seconds=0,5'), "--wait_seconds is '0,5'; it must be a number, such as 0.5"),
    ],
)
def test_a_flag_of_the_wrong_type_is_told_in_words(words, said):
    with pytest.raises(UserError) as found:
        parse(*words)
    assert str(found.value) == said


@pytest.mark.parametrize(
    ('value', 'words'),
    [('5%', "--risk is '5%'; it must be a share, such as 0.05"), ('low', "--risk is 'low'; it must be a number")],
)
def test_a_share_that_is_no_number_is_told_how_to_be_written(value, words):
    with pytest.raises(UserError) as found:
        command_line.parse(['main.py', '--mode=decide', '--predictions=p.npz', f'--risk={value}'])
    assert str(found.value).startswith(words)


@pytest.mark.parametrize('word', ['--audit=back.csv', '--issues'])
def test_flags_of_another_way_to_label_are_told_to_be_left_out(word):
    name = word.partition('=')[0]
    with pytest.raises(UserError, match=f'--inputs and --budget go with --strategy=NAME; leave them out with {name}'):
        parse('--mode=label', '--workdir=x', word, '--inputs=folder')


def test_the_process_ends_with_its_code_and_leaves_nothing_undone(tmp_path):
    """Past Python's own end, whose C++ threads could abort it: threads and pools end, files close, folders go."""
    program = f"""
import atexit, sys, tempfile, threading, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from failpred_jax import main

folder, told = tempfile.TemporaryDirectory(), Path({str(tmp_path)!r})
# Nobody shuts this one down, and its threads wait for more to do.
pool = ThreadPoolExecutor(2)
pool.submit(print).result()
threading.Thread(target=lambda: (time.sleep(0.2), (told / 'thread').touch())).start()
atexit.register((told / 'atexit').touch)
(told / 'folder').write_text(folder.name)
sys.argv = ['failpred', *sys.argv[1:]]
print('begun')
main.run()
"""
    for words, code in (('--version', 0), ('--mode=nothing', 2)):
        command = [sys.executable, '-c', program, words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == code and done.stdout.startswith('\nbegun\n')
        assert (tmp_path / 'thread').exists() and (tmp_path / 'atexit').exists()
        assert not Path((tmp_path / 'folder').read_text()).exists()
        for name in ('thread', 'atexit'):
            (tmp_path / name).unlink()


def test_a_config_file_is_named_with_its_ending(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'tiny.py').touch()
    for word in ('tiny', f'{tmp_path}/tiny'):
        with pytest.raises(UserError, match=rf"there is no config file '{word}'; did you mean '{word}\.py'\?"):
            parse(f'--config={word}')


def test_tables_end_quietly_where_nobody_reads_on():
    command = f'set -o pipefail; {sys.executable} -m failpred_jax.catalog options | true'
    done = subprocess.run(['bash', '-c', command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, '')


def test_letters_that_a_picture_cannot_draw_are_the_plain_ones():
    assert terminal.in_ascii('dög Äpfel ± × 7') == 'dog Apfel +/- x 7' and terminal.in_ascii('кот') == '???'
