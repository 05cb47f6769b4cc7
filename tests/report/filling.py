"""One section of the page, and what it holds."""

import csv
import dataclasses

import htpy as h

from failpred_jax.registry import SECTIONS
from failpred_jax.report.section import Section
from failpred_jax.report.view import View
from failpred_jax.results import (
    Evaluation,
)


def fill(name: str, evaluation: Evaluation) -> Section:
    """Return one section of an evaluation."""
    section = Section(name, '', '')
    SECTIONS[name].fill(View(evaluation), section)
    return section


def text_of(section: Section) -> str:
    return str(h.div[section.parts])


def rows_of(section: Section, table: str) -> list[dict[str, str]]:
    found = next(one for one in section.tables if one.name == table)
    return list(csv.DictReader(found.to_csv().splitlines()))


def with_measures(evaluation: Evaluation, **changes) -> Evaluation:
    return dataclasses.replace(evaluation, measures=dataclasses.replace(evaluation.measures, **changes))
