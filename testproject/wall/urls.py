from __future__ import annotations

from django.urls import path

from testproject.wall import views

app_name = "wall"
urlpatterns = [
    path("", views.wall, name="wall"),
    path("add/", views.add, name="add"),
    path("photos.tar", views.archive, name="archive"),
    path("photo/<int:pk>/", views.photo, name="photo"),
    path("photo/<int:pk>/thumbnail.json", views.thumbnail, name="thumbnail"),
]
