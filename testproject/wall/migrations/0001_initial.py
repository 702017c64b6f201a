from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

import testproject.wall.models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Photo",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("title", models.CharField(max_length=100)),
                ("by", models.CharField(max_length=60, verbose_name="your name")),
                ("picture", models.ImageField(upload_to=testproject.wall.models.place_photo)),
                ("thumbnail", models.ImageField(blank=True, editable=False, upload_to="")),
                ("added_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ["-pk"],
            },
        ),
        migrations.CreateModel(
            name="Comment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("by", models.CharField(max_length=60, verbose_name="your name")),
                ("text", models.TextField(max_length=1000)),
                ("added_at", models.DateTimeField(auto_now_add=True)),
                (
                    "photo",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="comments", to="wall.photo"
                    ),
                ),
            ],
            options={
                "ordering": ["pk"],
            },
        ),
    ]
