from __future__ import annotations

from django.urls import path

from testproject.outbox import views

app_name = "outbox"
urlpatterns = [path("", views.outbox, name="outbox")]
