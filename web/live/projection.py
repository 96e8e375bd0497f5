"""Places on the map: Mercator's projection, as all maps of cities have it, in whole units of a square of SIDE."""

import numpy as np

from muster.arrays import F64

SIDE = 18_000  # units: 50 a degree of longitude
MOST = 85.0511  # degrees of latitude, at the edge of the square


def projected(latitudes: F64, longitudes: F64) -> tuple[F64, F64]:
    """Degrees → x to the right and y down, in units; what lies beyond MOST is at the edge."""
    up = np.arctanh(np.sin(np.radians(np.clip(latitudes, -MOST, MOST))))
    return (longitudes / 360 + 0.5) * SIDE, (0.5 - up / (2 * np.pi)) * SIDE


def unprojected(x: float, y: float) -> tuple[float, float]:
    """Latitude and longitude of a point."""
    return float(np.degrees(np.arctan(np.sinh((0.5 - y / SIDE) * 2 * np.pi)))), (x / SIDE - 0.5) * 360
