"""What visitors can send to the wall."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from testproject.wall.models import Comment, Photo

#: Bytes.
MAX_UPLOAD = 8 * 1024 * 1024
FORMATS = ("JPEG", "PNG", "WEBP")


class PhotoForm(forms.ModelForm):
    class Meta:
        model = Photo
        fields = ["title", "by", "picture"]
        widgets = {"picture": forms.FileInput(attrs={"accept": "image/jpeg,image/png,image/webp"})}

    def clean_picture(self) -> Any:
        """A JPEG, PNG or WebP picture of at most :data:`MAX_UPLOAD` bytes."""
        picture = self.cleaned_data["picture"]
        if picture.size > MAX_UPLOAD:
            raise ValidationError(f"The picture has more than {MAX_UPLOAD >> 20} MB.")
        if picture.image.format not in FORMATS:
            raise ValidationError(f"Send one of {', '.join(FORMATS)}, not {picture.image.format}.")
        return picture


class CommentForm(forms.ModelForm):
    class Meta:
        model = Comment
        fields = ["by", "text"]
        widgets = {"text": forms.Textarea(attrs={"rows": 3})}
