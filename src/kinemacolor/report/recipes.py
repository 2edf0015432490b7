"""What was done to a made print, in words: only what its recipe says otherwise than the defaults do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kinemacolor.params import Recipe

_SIDES = ("left", "top", "right", "bottom")
_SHOWN = 6  # entries of a list that are named


def recipe_words(recipe: Mapping[str, Any]) -> str:
    """A recipe, as source.json keeps it, in words: "lacks its first 36 frames, gamma 1.2, ...".

    Args:
        recipe: keys of a `Recipe` and their values; what equals the default is not said. Keys that no recipe has any more
            are said as they stand.
    """
    defaults = Recipe().model_dump(mode="json")
    said = [_said(key, value, recipe) for key, value in recipe.items() if key not in defaults or _plain(value) != defaults[key]]
    return ", ".join(part for part in said if part) or "nothing but its default height and codec"


def _plain(value: Any) -> Any:
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def _said(key: str, value: Any, recipe: Mapping[str, Any]) -> str:
    match key:
        case "reels":
            return f"shows frames {_stretches(value)} in this order"
        case "remove":
            return f"removes frames {_stretches(value)}"
        case "trim_frames":
            return f"lacks its first {_frames(value, one='frame')}"
        case "trim_end_frames":
            return f"lacks its last {_frames(value, one='frame')}"
        case "added" | "black" | "hold":
            name = {"added": "a scene of its own of {} before frame {:,}", "black": "{} of black before frame {:,}"}.get(
                key, "stands for {} at frame {:,}"
            )
            return _listed([name.format(_frames(one["frames"]), one["at"]) for one in value])
        case "fade":
            return f"fades in and out over {_frames(value)}"
        case "intro_frames" | "outro_frames":
            return f"{'begins' if key == 'intro_frames' else 'ends'} with a leader of {_frames(value)}"
        case "frame_rate":
            return f"{value} frames a second ({_conversion(recipe)})"
        case "conversion":
            return ""  # said with the rate, without which there is none
        case "drop":
            return f"drops {100 * value:.4g} % of its frames"
        case "crop" | "bars":
            sides = [f"{100 * share:.4g} % at the {side}" for share, side in zip(value, _SIDES, strict=True) if share]
            return f"{'cropped by' if key == 'crop' else 'black bars of'} {' and '.join(sides)}"
        case "height" | "width":
            return f"{value} pixels {'high' if key == 'height' else 'wide'}"
        case "turn":
            return f"turned by {value:g}° anticlockwise"
        case "shift":
            return f"shifted by {value[0]:g} pixels to the right and {value[1]:g} down"
        case "colour":
            return "in colour" if value else "in grey"
        case "paint":
            return f"luma painted over by {value:g}"
        case "logo":
            return "a sender's logo"
        case "subtitles":
            return "subtitles"
        case "sound":
            return "without sound"
        case "grain":
            return f"grain of {value:g} steps of 255"
        case _:
            return f"{key.replace('_', ' ')} {value}"


def _conversion(recipe: Mapping[str, Any]) -> str:
    said = {
        "speed": "played faster or slower",
        "repeat": "frames repeated or left out",
        "blend": "neighbours blended",
        "pulldown": "by 3:2 pulldown",
    }
    return said.get(recipe.get("conversion", "speed"), str(recipe.get("conversion")))


def _frames(count: int, *, one: str = "1 frame") -> str:
    return one if count == 1 else f"{count:,} frames"


def _stretches(value: Sequence[Sequence[int]]) -> str:
    return _listed([f"{start:,} to {end - 1:,}" if end - start > 1 else f"{start:,}" for start, end in value])


def _listed(parts: Sequence[str]) -> str:
    more = f" and {len(parts) - _SHOWN} more" if len(parts) > _SHOWN else ""
    return ", ".join(parts[:_SHOWN]) + more
