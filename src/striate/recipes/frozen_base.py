"""Where frozen layers run once for each view of an image: the part that is trained, and the features it is trained
on.
"""

from lightning_fabric import Fabric

from striate.data.opening import Access
from striate.recipes.prepare import Prepared, trainable_tail
from striate.training.frozen.feature_cache import FeatureLoader, with_features
from striate.training.frozen.trainable_tail import TrainableTail
from striate.training.loader import Loader
from striate.training.observer import Observer
from striate.training.validation import autocast_dtype


def trainee_of(prepared: Prepared) -> TrainableTail | None:
    """The network with only its last layers to run, where the frozen ones run once for each view of an image."""
    if prepared.recipe.views == 0:
        return None
    part = trainable_tail(prepared.network, prepared.entry, prepared.recipe, prepared.preprocessing)
    assert not isinstance(part, str), part  # `prepare` has made sure
    return part


def feature_loader(
    trainee: TrainableTail, prepared: Prepared, loader: Loader, fabric: Fabric, access: Access, observer: Observer
) -> FeatureLoader:
    """The features that the last layers are trained on, and a line that says so."""
    recipe = prepared.recipe
    made = with_features(
        loader, recipe, trainee, fabric.device, autocast_dtype=autocast_dtype(fabric), track=access.track
    )
    frozen, trained = ("base", "head") if recipe.freeze == "base" else ("lower part", "upper part")
    observer.on_notice(
        f"the frozen {frozen} ran once over {recipe.views} views of each of {len(loader.train):,} training images, and "
        f"over the {len(loader.validation):,} validation images; epochs train the {trained} on what it gave"
    )
    return made
