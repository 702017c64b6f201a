from __future__ import annotations

from django.urls import path

from testproject.newsletter import views

app_name = "newsletter"
urlpatterns = [
    path("", views.newsletter, name="newsletter"),
    path("unsubscribe/<str:token>/", views.unsubscribe, name="unsubscribe"),
    path("issue/<int:pk>/send/", views.send, name="send"),
]
