"""The wall's background work: thumbnails."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from django.conf import settings
from PIL import Image, ImageOps, UnidentifiedImageError

from django_graceful import Discard, queue
from testproject.wall.models import Photo

#: The longer side of a thumbnail, in pixels.
SIZE = 900


@queue("thumbnails", max_workers=2, timeout=60, unique="queued", key=lambda payload: str(payload["photo"]))
def make_thumbnail(payload: dict[str, Any]) -> None:
    """Make the thumbnail of ``payload["photo"]``. May run twice: the file appears whole, under the same name."""
    photo = Photo.objects.filter(pk=payload["photo"]).first()
    if photo is None:
        return
    name = f"thumbs/{photo.pk}.webp"
    try:
        shrink(Path(photo.picture.path), Path(settings.MEDIA_ROOT) / name)
    except UnidentifiedImageError as error:
        raise Discard(str(error)) from error
    Photo.objects.filter(pk=photo.pk).update(thumbnail=name)


def shrink(source: Path, target: Path) -> None:
    """Write ``source`` to ``target`` as WebP, at most :data:`SIZE` pixels long and high, in one step."""
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(f".{os.getpid()}.tmp")
    with Image.open(source) as picture:
        upright = ImageOps.exif_transpose(picture).convert("RGB")
        upright.thumbnail((SIZE, SIZE))
        upright.save(unfinished, "WEBP", quality=82)
    unfinished.replace(target)
