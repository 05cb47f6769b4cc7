"""A registry: names are unique and found, options and facts belong to their entries."""

import pytest

from failpred_jax.errors import UserError
from failpred_jax.registry import Registry


@pytest.fixture
def fruit():
    # A package without modules of its own: only what is registered here.
    found = Registry('fruit', 'tests_have_no_such_package', {'is_sweet': True})
    found._is_loaded = True
    found.register('apple', options=int)('an apple')
    found.register('lemon', is_sweet=False)('a lemon')
    return found


def test_entries_options_and_facts(fruit):
    assert list(fruit) == ['apple', 'lemon']
    assert fruit['lemon'] == 'a lemon'
    assert fruit.options() == {'apple': int}
    assert [fruit.fact(name, 'is_sweet') for name in fruit] == [True, False]


def test_an_unknown_name_is_told_the_nearest(fruit):
    for look in (lambda: fruit['lemmon'], lambda: fruit.fact('lemmon', 'is_sweet')):
        with pytest.raises(UserError, match=r"unknown fruit 'lemmon'; did you mean 'lemon'\? \(allowed: apple, lemon"):
            look()


def test_a_name_twice_and_an_unknown_fact_are_errors_of_the_programmer(fruit):
    with pytest.raises(ValueError, match="fruit 'apple' is registered twice"):
        fruit.register('apple')('another')
    with pytest.raises(ValueError, match="fruit 'pear' declares is_swet, which is not among: is_sweet"):
        fruit.register('pear', is_swet=True)


def test_a_cell_that_is_run_again_replaces_what_it_registered(fruit):
    def of(module):
        def pear():
            return module

        pear.__module__ = module
        return pear

    fruit.register('pear', options=str)(of('__main__'))
    again = of('__main__')
    fruit.register('pear', options=float, is_sweet=False)(again)
    assert fruit['pear'] is again
    assert (fruit.options()['pear'], fruit.fact('pear', 'is_sweet')) == (float, False)
    fruit.register('pear')(of('__main__'))
    assert 'pear' not in fruit.options()
    # Another module's function of that name, or another function of the notebook, is another thing.
    with pytest.raises(ValueError, match=r"'pear' is registered twice; choose another name \(the first is __main__"):
        fruit.register('pear')(of('a_module'))
    fruit.register('plum')(of('a_module'))
    with pytest.raises(ValueError, match=r'registered twice.*\(the first is a_module'):
        fruit.register('plum')(of('a_module'))


def test_a_package_that_fails_to_import_fails_every_time():
    broken = Registry('fruit', 'tests_have_no_such_package')
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError):
            list(broken)


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        (
            'from failpred_jax.scores.score import score\n'
            "score('mine', needs=['logits', 'featurs'], description='', reference='')",
            "line 2: score 'mine' needs 'featurs'; did you mean 'features'? (allowed: logits, features, ",
        ),
        ('import nonesuch_package', "line 1: ModuleNotFoundError: No module named 'nonesuch_package'"),
        ('\n\n1 / 0', 'line 3: ZeroDivisionError: division by zero'),
        ('def f(:', 'line 1: SyntaxError: '),
    ],
)
def test_a_file_that_was_added_and_fails_is_told_its_line(text, said, tmp_path, monkeypatch):
    package = tmp_path / f'{tmp_path.name}_package'
    package.mkdir()
    (package / '__init__.py').touch()
    (package / 'mine.py').write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = Registry('thing', package.name)
    for _ in range(2):
        with pytest.raises(UserError) as error:
            list(found)
        assert str(error.value).startswith(f"'{package / 'mine.py'}' cannot be imported: it failed in {said}")
