"""Pictures and their label maps in two folders, paired by base name: images/a.jpg and masks/a.png."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from failpred_jax.config import DataConfig
from failpred_jax.data.cache import everything_below
from failpred_jax.data.decoding import channels_of, size_of_first
from failpred_jax.data.label_maps import MapRule
from failpred_jax.data.labeled_files import CHANNELS
from failpred_jax.data.listing import by_stem, list_folder, readable
from failpred_jax.data.pairs import Pair, PairForm, num_bytes_of_pairs, read_pairs
from failpred_jax.data.parts import PARTS, by_part, some
from failpred_jax.data.pictures import read_picture
from failpred_jax.data.resize import resize_labels
from failpred_jax.data.sources import RawData
from failpred_jax.errors import UserError
from failpred_jax.options import option, rule
from failpred_jax.registry import SOURCES
from failpred_jax.types import DatasetInfo

_IMAGES = ('images', 'image', 'imgs', 'img', 'img_dir', 'jpegimages', 'x')
_MASKS = ('masks', 'mask', 'labels', 'label', 'annotations', 'ann_dir', 'gt', 'segmentationclass', 'y')


@dataclass(frozen=True)
class SegmentationOptions:
    """Options of this source."""

    path: str = option(
        '', 'folder with images/ and masks/, or with train/, val/, test/ of such', changes_training=False
    )
    images: str = option('', "name of the folders of pictures; '' for images or the like")
    masks: str = option('', "name of the folders of label maps; '' for masks or the like")
    image_suffix: str = option(
        '', "what pictures' base names end in and their label maps' do not, such as _leftImg8bit"
    )
    mask_suffix: str = option('', "what label maps' base names end in and their pictures' do not, such as _mask")
    class_names: tuple[str, ...] = option((), 'names of the classes; () for their numbers')
    mask_values: tuple[int, ...] = option(
        (), 'numbers in the label maps in the order of the classes, such as 0,255; () for 0, 1, 2, ...'
    )
    ignore_label: int = option(
        -1,
        'number in the label maps whose pixels count nowhere, such as 255; -1 for none',
        rule('from -1 to 65535', lambda v: -1 <= v <= 65535),
    )
    channels: int = option(3, '3 for RGB, 1 for gray; 0 for gray if all pictures are stored so, else RGB', CHANNELS)

    def problems(self, path: str) -> Iterator[str]:
        """Yield what cannot work."""
        if not self.path:
            yield f"{path}.path is ''; source 'segmentation' reads the folder it names"
        yield from MapRule.of(self).problems(path)


@SOURCES.register(
    'segmentation', options=SegmentationOptions, files=lambda options: everything_below(Path(options.path))
)
def load(data: DataConfig, options: SegmentationOptions) -> RawData:
    """Return the pairs below the folder that `options.path` names.

    Both layouts are known: train/images and train/masks, or images/train and masks/train. A part that is not there is
    split off the training part. With `data.image_size`, pictures are resized bilinearly and label maps by nearest
    neighbor, as they are read.

    Raises:
      UserError: the layout is another one, a file has no partner or two, sizes differ, or a number is no class.
    """
    root = Path(options.path)
    pairs = {part: _pairs(images, masks, options) for part, (images, masks) in _parts(root, options).items()}
    map_rule = MapRule.of(options)
    everything = [pair.image for of_part in pairs.values() for pair in of_part]
    height, width = data.new_size or size_of_first(
        len(pairs['train']), lambda i: read_picture(pairs['train'][i].image), f"the train part of '{root}'"
    )
    shape = (height, width, channels_of(everything, options.channels))
    form = PairForm(
        read_image=lambda file: read_picture(file, channels=shape[-1]),
        apply_rule=lambda numbers, file: resize_labels(map_rule.applied(numbers, file)[None], shape[:2])[0],
        shape=shape,
        resize=data.new_size is not None,
        dtype=map_rule.dtype,
        is_lazy=data.is_beyond_memory(num_bytes_of_pairs(len(everything), shape, map_rule.dtype)),
    )
    found = {part: read_pairs(of_part, form, f"the {part} part of '{root}'") for part, of_part in pairs.items()}
    info = DatasetInfo(readable(root.resolve().name), 'segmentation', shape, (), map_rule.ignore)
    raw = RawData(
        info,
        found['train'],
        *(found.get(part) for part in PARTS[1:]),
        classes_of=lambda maps: map_rule.class_names(maps, f"the label maps of '{root}'", 'config.data.segmentation'),
    )
    return raw if form.is_lazy else raw.named()


def _parts(root: Path, options: SegmentationOptions) -> dict[str, tuple[Path, Path]]:
    """Return part -> its folders of pictures and of label maps."""
    top = list_folder(root)
    names = {folder.name: folder for folder in top.folders}
    images, masks = (_named(names, *which) for which in ((options.images, _IMAGES), (options.masks, _MASKS)))
    if images and masks:
        inside = by_part((folder.name for folder in list_folder(images).folders), f"'{images}'")
        if 'train' not in inside:
            return {'train': (images, masks)}
        return {part: (images / name, masks / name) for part, name in inside.items()}
    found = {}
    for part, name in by_part(names, f"'{root}'").items():
        below = {folder.name: folder for folder in list_folder(names[name]).folders}
        pair = (_named(below, options.images, _IMAGES), _named(below, options.masks, _MASKS))
        if pair[0] is None or pair[1] is None:
            raise UserError(f"'{names[name]}' lacks a folder of pictures or of label maps; it holds: {some(below)}")
        found[part] = pair
    if 'train' not in found:
        raise UserError(
            f"'{root}' holds neither images/ and masks/ nor train/ with these in it, but: "
            f'{some(names) or "no folders"}; '
            'name the folders with --config.data.segmentation.images=NAME and --config.data.segmentation.masks=NAME'
        )
    return found


def _named(folders: Mapping[str, Path], name: str, usual: Sequence[str]) -> Path | None:
    if name:
        return folders.get(name)
    lowered = {folder.lower(): path for folder, path in folders.items()}
    return next((lowered[word] for word in usual if word in lowered), None)


def _pairs(images: Path, masks: Path, options: SegmentationOptions) -> list[Pair]:
    """Return the pictures and label maps of one base name, sorted. Raises UserError for what has no partner."""
    found = []
    for folder, suffix, what in ((images, options.image_suffix, 'image'), (masks, options.mask_suffix, 'mask')):
        stems = by_stem(list_folder(folder).pictures)
        wrong = [file.name for stem, file in stems.items() if not stem.endswith(suffix)]
        if wrong:
            raise UserError(
                f"'{folder}' holds {len(wrong)} pictures whose base names do not end in '{suffix}', such as "
                f'{wrong[0]}; '
                f'correct config.data.segmentation.{what}_suffix, or remove them'
            )
        found.append({stem.removesuffix(suffix): file for stem, file in stems.items()})
    alone = sorted({*found[0]} ^ {*found[1]})
    if alone:
        raise UserError(
            f"{len(alone)} files of '{images}' and '{masks}' have no partner of the same base name, such as "
            f'{some(alone, 3)}; complete the pairs, or say what ends the names of label maps, such as '
            '--config.data.segmentation.mask_suffix=_mask'
        )
    if not found[0]:
        raise UserError(f"'{images}' and '{masks}' hold no pictures of a kind that is read here")
    return [Pair(found[0][stem], found[1][stem]) for stem in sorted(found[0])]
