"""Who else is told of a run, from the words of the command line."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from critica.recipes.coercion import ConfigError
from critica.recipes.user_parts import is_user_part, load_object

if TYPE_CHECKING:
    from critica.training.listeners import Listener


def listeners_of(names: Sequence[str]) -> "list[Listener]":
    """One listener for each name. Raises `ConfigError` before anything is trained."""
    from critica.training.listeners import listener_of
    from critica.training.trackers import TrackerMissing, tracker

    found = []
    for name in names:
        try:
            found.append(listener_of(load_object(name) if is_user_part(name) else tracker(name)))
        except (TrackerMissing, ValueError, TypeError) as error:
            raise ConfigError(str(error)) from error
    return found
