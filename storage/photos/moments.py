"""Which moments of a video are looked at. Times are seconds from its start."""

import numpy as np

from muster.arrays import F64

NEAR = 0.5  # seconds; a keyframe this near to a wanted moment is taken for it, or half a step if that is less
DIGITS = 3  # of a second that a moment is named by
SAME = 10.0**-DIGITS / 2  # what rounding may take from a time or add to it


def moments(frames: F64, keyframes: F64, fps: float, most: int) -> F64:
    """The moments of a video, ascending: (M,), M at most `most`; each is the time of a frame, rounded to DIGITS.

    `frames`: (N,), when each frame is first shown, ascending; `keyframes`: those that are decoded without others.
    Wanted are the first frame and one each 1/`fps` seconds after it; where these are more than `most`, the middles of
    `most` equal parts. For each the nearest keyframe is taken if it is within NEAR, because to decode any other frame
    is to decode all before it back to a keyframe; else the frame that is shown then. So a frame that is shown for
    long, as in a slide show, is one moment.
    """
    if not len(frames):
        return frames
    first, span, step = frames[0], frames[-1] - frames[0], 1 / fps
    count = int(min(span / step + SAME, most)) + 1
    wanted = first + step * np.arange(count)
    if count > most:
        step = span / most
        wanted = first + step * (np.arange(most) + 0.5)
    shown = frames[np.searchsorted(frames, wanted + SAME, "right") - 1]
    if len(keyframes):
        after = np.searchsorted(keyframes, wanted).clip(1, len(keyframes)) - 1
        pair = np.stack([keyframes[after], keyframes[np.minimum(after + 1, len(keyframes) - 1)]])
        nearest = pair[np.abs(pair - wanted).argmin(0), np.arange(len(wanted))]
        shown = np.where(np.abs(nearest - wanted) <= min(NEAR, step / 2) + SAME, nearest, shown)
    found: F64 = np.unique(np.round(shown, DIGITS))
    return found
