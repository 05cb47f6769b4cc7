"""Evaluations to make reports of: real digits, a synthetic segmentation, and ten thousand images."""

import dataclasses
import functools

import numpy as np
import pytest
import scipy.special
import sklearn.datasets
import sklearn.linear_model
import sklearn.metrics

from failpred_jax.registry import METRICS
from failpred_jax.results import (
    ClassifierResult,
    Comparison,
    Confusion,
    DatasetDescription,
    Evaluation,
    Interval,
    Measures,
    Predictions,
    RunDescription,
    ScoreCurves,
    ScoreDescription,
    ScoreResult,
    StageDescription,
    TargetsDescription,
)

HOSTILE = '<script>alert(1)</script>'
ROLES = {'mcp': 'baseline', 'confidnet': 'learned', 'confidnet_finetuned': 'learned', 'tcp': 'bound'}


def metrics_of(confidence: np.ndarray, correct: np.ndarray) -> dict[str, float]:
    """Return the metrics of one score by scikit-learn."""
    order = np.argsort(-confidence, kind='stable')
    errors = np.cumsum(~correct[order])
    aurc = float(np.mean(errors / np.arange(1, len(correct) + 1)))
    return {
        'auroc': float(sklearn.metrics.roc_auc_score(correct, confidence)),
        'aupr_success': float(sklearn.metrics.average_precision_score(correct, confidence)),
        'aupr_error': float(sklearn.metrics.average_precision_score(~correct, -confidence)),
        'fpr_at_95tpr': float(np.mean(confidence[~correct] >= np.quantile(confidence[correct], 0.05))),
        'aurc': aurc,
        'e_aurc': aurc - 0.001,
        'augrc': float(np.mean(errors) / len(correct)),
        'risk_at_80coverage': float(errors[int(0.8 * len(correct))] / (0.8 * len(correct))),
    }


def score_table(confidences: dict[str, np.ndarray], correct: np.ndarray) -> dict[str, ScoreResult]:
    """Return the results of each score, with rough intervals."""
    table = {}
    for name, confidence in confidences.items():
        metrics = metrics_of(confidence, correct)
        ends = {key: Interval(max(0.0, value * 0.85), min(1.0, value * 1.1)) for key, value in metrics.items()}
        calibration = {'ece': 0.07, 'brier': 0.11, 'signed_ece': -0.01} if name in ('mcp', 'confidnet') else {}
        notes = ('best checkpoint at epoch 12',) if name == 'confidnet' else ()
        table[name] = ScoreResult(metrics, ends, calibration=calibration, notes=notes, role=ROLES.get(name, ''))
    return table


def comparisons(table: dict[str, ScoreResult]) -> tuple[Comparison, ...]:
    names = ['confidnet_finetuned', 'confidnet', 'mcp', 'max_logit']
    rows = []
    for metric in ('aurc', 'auroc', 'aupr_error'):
        for i, a in enumerate(names):
            for b in names[i + 1 :]:
                difference = table[a].metrics[metric] - table[b].metrics[metric]
                half = 0.004 if metric == 'aurc' else 0.03
                rows.append(Comparison(metric, a, b, difference, difference - half, difference + half, 0.4))
    return tuple(rows)


def make_confidences(logits: np.ndarray, labels: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """Return confidences of a classifier: real ones from its logits, and stand-ins for learned ones."""
    rng = np.random.default_rng(seed)
    probabilities = scipy.special.softmax(logits, axis=-1)
    ordered = np.sort(probabilities, axis=-1)
    true = probabilities[np.arange(len(labels)), labels]
    found = {
        'mcp': ordered[:, -1],
        'margin': ordered[:, -1] - ordered[:, -2],
        'negative_entropy': (probabilities * np.log(probabilities + 1e-12)).sum(-1),
        'max_logit': logits.max(-1),
        'confidnet': 1 / (1 + np.exp(-(4 * (0.55 * true + 0.45 * ordered[:, -1]) - 2 + rng.normal(0, 0.5, len(true))))),
        'confidnet_finetuned': np.clip(0.6 * true + 0.4 * ordered[:, -1] + rng.normal(0, 0.08, len(true)), 0, 1),
        'tcp': true,
    }
    return {name: values.astype(np.float32) for name, values in found.items()}


def make_history(rng: np.random.Generator, epochs: int = 30) -> dict[str, dict[str, list]]:
    history = {}
    for stage in ('baseline', 'confidence', 'finetune'):
        epoch = np.arange(1, epochs + 1)
        fall = np.exp(-epoch / 6)
        columns = {
            'epoch': epoch.tolist(),
            'step': (epoch * 10).tolist(),
            'train_loss': (fall + 0.1 + rng.normal(0, 0.01, epochs)).tolist(),
            'val_loss': (fall + 0.2 + rng.normal(0, 0.02, epochs)).tolist(),
            'learning_rate': (0.1 * fall).tolist(),
        }
        if stage == 'baseline':
            columns['train_accuracy'] = (1 - fall * 0.7).tolist()
            columns['val_accuracy'] = (0.95 - fall * 0.7).tolist()
        columns['val_auroc'] = [None, *(0.93 - 0.1 * fall[1:] + rng.normal(0, 0.01, epochs - 1)).tolist()]
        columns['val_aupr_error'] = (0.5 - 0.2 * fall + rng.normal(0, 0.02, epochs)).tolist()
        history[stage] = columns
    return history


def describe_scores(names: list[str]) -> dict[str, ScoreDescription]:
    return {
        name: ScoreDescription(
            f'What {name} is, in one line.',
            'Corbière et al., NeurIPS 2019, eq. 2',
            ROLES.get(name, ''),
            name in ('mcp', 'confidnet', 'confidnet_finetuned'),
        )
        for name in names
    }


def describe_run(dataset: DatasetDescription, scores: list[str]) -> RunDescription:
    """Return a description with every part filled."""
    stages = ('baseline', 'confidence', 'finetune')
    return RunDescription(
        created='2026-11-22T18:30:00',
        dataset=dataset,
        model={'name': 'mlp', 'hidden_units': 64, 'num_parameters': 12345},
        stages=tuple(StageDescription(stage, 'aupr_error', 300, 210, 210, 0.51, 12.3) for stage in stages),
        warnings=('TCP is above 0.99 for 91 % of the training images: the head has little to learn from.',),
        config={'seed': 0, 'data': {'name': dataset.name}, 'evaluate': {'interval': 0.95}},
        environment={'python': '3.11.7', 'devices': ['TFRT_CPU_0'], 'git_commit': '40b1b86d0c'},
        train_targets=TargetsDescription(
            'train', 220, 9, tuple(np.linspace(0, 1, 21)), (*[0] * 6, *[2] * 13, 160), (4, 2, 1, 1, 1, *[0] * 15)
        ),
        metrics={name: METRICS[name].describe() for name in METRICS},
        scores=describe_scores(scores),
    )


def make_evaluation(
    labels: np.ndarray, logits: np.ndarray, images: np.ndarray | None, class_names: list[str], name: str
) -> Evaluation:
    """Return the evaluation of a classifier, every optional part filled."""
    correct = logits.argmax(-1) == labels
    confidences = make_confidences(logits, labels)
    table = score_table(confidences, correct)
    usable = sorted((n for n in table if n != 'tcp'), key=lambda n: table[n].metrics['aurc'])
    shape = () if images is None else images.shape[1:]
    dataset = DatasetDescription(
        name, 'classification', len(class_names), tuple(class_names), shape, None, 200, 40, len(labels)
    )
    measures = Measures(
        classifier=ClassifierResult(
            len(labels),
            int((~correct).sum()),
            {'accuracy': float(correct.mean()), 'multiclass_nll': 0.31, 'top_5_accuracy': 0.99},
        ),
        scores=table,
        unavailable={'mc_dropout': 'the model has no dropout'},
        reference='mcp',
        best={'aurc': tuple(usable[:3]), 'auroc': tuple(usable[:2])},
        comparisons=comparisons(table),
    )
    history = make_history(np.random.default_rng(0))
    return Evaluation(
        measures,
        describe_run(dataset, list(table)),
        Predictions(labels, logits, correct, confidences),
        images=images,
        history=history,
    )


@functools.cache
def digits_evaluation(hostile: bool = False) -> Evaluation:
    """Return the real digits under a weak classifier, about 130 errors in 1,597 images."""
    digits = sklearn.datasets.load_digits()
    model = sklearn.linear_model.LogisticRegression(C=0.05, max_iter=500)
    model.fit(digits.data[:200] / 16, digits.target[:200])
    logits = (6 * model.decision_function(digits.data[200:] / 16)).astype(np.float32)
    images = (digits.images[200:] * 15.9).astype(np.uint8)[..., None]
    names = [str(i) for i in range(10)]
    if hostile:
        names[3], names[4], names[5] = HOSTILE, '</script><!--<b>x', 'a & b "c" %{x} {y} \udc80'
    name = f'digits{HOSTILE}' if hostile else 'digits'
    found = make_evaluation(digits.target[200:].astype(np.int32), logits, images, names, name)
    if not hostile:
        return found
    warnings = (*found.run.warnings, f'a warning with {HOSTILE}')
    config = {**found.run.config, 'data': {'path': f'/data/{HOSTILE}'}}
    return dataclasses.replace(found, run=dataclasses.replace(found.run, warnings=warnings, config=config))


@functools.cache
def large_evaluation(num: int = 10_000, num_classes: int = 10, seed: int = 1) -> Evaluation:
    """Return as many synthetic images as MNIST's or CIFAR-10's test set holds, 32 by 32 in color."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_classes, num).astype(np.int32)
    logits = rng.normal(0, 1.6, (num, num_classes)).astype(np.float32)
    logits[np.arange(num), labels] += rng.gamma(4, 1.7, num).astype(np.float32)
    images = rng.integers(0, 256, (num, 32, 32, 3), dtype=np.uint8)
    return make_evaluation(labels, logits, images, [f'class number {i}' for i in range(num_classes)], 'cifar10')


def make_scenes(rng: np.random.Generator, num_classes: int = 6) -> dict[str, np.ndarray]:
    """Return the maps of six synthetic street scenes, with confidences that are low at edges."""
    height, width = 120, 160
    rows, columns = np.mgrid[:height, :width]
    names = ('image', 'label', 'prediction', 'accuracy', 'index', 'confidence_mcp', 'confidence_confidnet')
    maps: dict[str, list] = {key: [] for key in (*names, 'confidence_tcp')}
    colors = rng.integers(40, 220, (num_classes, 3))
    for index in range(6):
        label = np.full((height, width), 2)
        horizon = 40 + 5 * index
        label[rows < horizon] = 0
        label[(rows > horizon - 20) & (columns % 50 < 22)] = 1
        label[(rows - 90) ** 2 + (columns - 60 - 8 * index) ** 2 < 400] = 3
        label[(columns > 130) & (columns < 136)] = 4
        label[:, :3] = -1
        edge = np.zeros(label.shape)
        edge[1:, :] += label[1:, :] != label[:-1, :]
        edge[:, 1:] += label[:, 1:] != label[:, :-1]
        for _ in range(4):
            edge = (edge + np.roll(edge, 1, 0) + np.roll(edge, -1, 0) + np.roll(edge, 1, 1) + np.roll(edge, -1, 1)) / 3
        confidence = np.clip(1 - 0.8 * edge + rng.normal(0, 0.05, label.shape), 0.05, 1)
        wrong = rng.random(label.shape) > confidence
        prediction = np.where(wrong, rng.integers(0, num_classes, label.shape), np.maximum(label, 0))
        image = np.clip(colors[np.maximum(label, 0)] + rng.normal(0, 18, (*label.shape, 3)), 0, 255)
        maps['image'].append(image.astype(np.uint8))
        maps['label'].append(label)
        maps['prediction'].append(prediction)
        maps['index'].append(30 + index)
        maps['accuracy'].append(float((prediction == label)[label >= 0].mean()))
        maps['confidence_mcp'].append(np.float32(np.clip(confidence + rng.normal(0, 0.1, label.shape), 0, 1)))
        maps['confidence_confidnet'].append(np.float32(confidence))
        maps['confidence_tcp'].append(np.float32(np.where(wrong, 0.2, confidence)))
    return {key: np.array(values) for key, values in maps.items()}


def make_score_curves(confidence: np.ndarray, correct: np.ndarray) -> ScoreCurves:
    order, edges = np.argsort(-confidence), np.linspace(0, 1, 101)
    keep = np.unique(np.linspace(0, len(order) - 1, 200).astype(int))
    return ScoreCurves(
        confidence[order][keep].astype(np.float64),
        keep + 1,
        np.cumsum(correct[order])[keep],
        edges,
        np.histogram(confidence[correct], edges)[0],
        np.histogram(confidence[~correct], edges)[0],
    )


@functools.cache
def segmentation_evaluation() -> Evaluation:
    """Return six scenes with counts over all pixels and no arrays of single pixels."""
    maps = make_scenes(np.random.default_rng(2))
    known = maps['label'] >= 0
    correct = (maps['prediction'] == maps['label'])[known]
    flat = {score: maps[f'confidence_{score}'][known] for score in ('mcp', 'confidnet', 'tcp')}
    table = score_table(flat, correct)
    names = ('sky', 'building', 'road', 'car', 'pole', 'pedestrian')
    confusion = sklearn.metrics.confusion_matrix(maps['label'][known], maps['prediction'][known], labels=range(6))
    measures = Measures(
        classifier=ClassifierResult(
            len(correct),
            int((~correct).sum()),
            {'accuracy': float(correct.mean()), 'mean_iou': 0.704},
            {'iou': np.array([0.91, 0.72, 0.95, 0.61, 0.33, np.nan])},
            Confusion.from_dense(confusion),
        ),
        scores=table,
        best={'aurc': ('confidnet',)},
        curves={name: make_score_curves(confidence, correct) for name, confidence in flat.items()},
    )
    dataset = DatasetDescription('camvid', 'segmentation', 6, names, (120, 160, 3), None, 367, 101, 233)
    run = dataclasses.replace(describe_run(dataset, list(table)), model={'name': 'segnet'}, warnings=())
    empty = Predictions(np.zeros(0, np.int32), np.zeros((0, 6), np.float32), np.zeros(0, bool))
    return Evaluation(measures, run, empty, history=make_history(np.random.default_rng(0)), maps=maps)


@pytest.fixture(scope='session')
def digits() -> Evaluation:
    return digits_evaluation()


@pytest.fixture(scope='session')
def hostile() -> Evaluation:
    return digits_evaluation(hostile=True)


@pytest.fixture(scope='session')
def large() -> Evaluation:
    return large_evaluation()


@pytest.fixture(scope='session')
def segmentation() -> Evaluation:
    return segmentation_evaluation()
