from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    operations = [
        migrations.CreateModel(
            name="OutboxItem",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("store", models.CharField(max_length=200)),
                ("queue", models.CharField(max_length=100)),
                ("record", models.BinaryField()),
                ("created", models.FloatField()),
            ],
            options={
                "verbose_name": "outbox item",
                "verbose_name_plural": "outbox items",
                "default_permissions": (),
            },
        ),
    ]
