from __future__ import annotations

from django.urls import path

from testproject.work import views

app_name = "work"
urlpatterns = [
    path("", views.work, name="work"),
    path("state.json", views.state, name="state"),
    path("push/", views.push, name="push"),
    path("job/<int:pk>/cancel/", views.cancel, name="cancel"),
    path("job/<int:pk>/retry/", views.retry, name="retry"),
]
