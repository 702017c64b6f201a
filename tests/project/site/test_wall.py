from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from PIL import Image

from django_graceful import Discard, ProcessFailed
from django_graceful.test import isolated_queues
from testproject.demo.samples import SCENES
from testproject.demo.site import hang_samples
from testproject.wall.models import Photo
from testproject.wall.queues import SIZE, make_thumbnail


@pytest.fixture
def photo(picture: SimpleUploadedFile) -> Photo:
    return Photo.objects.create(title="Harbour", by="Ada", picture=picture)


def test_an_uploaded_photo_hangs_on_the_wall_and_queues_its_thumbnail(visit: Any, waiting: Any, picture: Any) -> None:
    page = visit("/add/", {"title": "Harbour", "by": "Ada", "picture": picture})
    photo = Photo.objects.get()
    assert waiting("thumbnails") == [{"photo": photo.pk}]
    assert page.redirect_chain == [("/", 302)]
    assert "Harbour" in page.text
    assert "The thumbnail is being made" in page.text


def test_a_new_photo_tells_the_studio_and_the_webhook_each_in_an_item_of_its_own(
    visit: Any, picture: Any, settings: Any
) -> None:
    with isolated_queues() as queues:
        visit("/add/", {"title": "Harbour", "by": "Ada", "picture": picture})
        queues.assert_pushed("notify", count=2)
        assert [ran.outcome for ran in queues.run_queued("notify")] == ["done", "done"]
        Photo.objects.get().save()
        queues.run_queued("notify")
    photo = Photo.objects.get()
    (sent,) = mail.outbox
    assert (sent.subject, sent.to) == ("Ada has hung up “Harbour”", [settings.STUDIO])
    assert f"/photo/{photo.pk}/" in sent.body
    (line,) = settings.WEBHOOKS.read_text().splitlines()
    assert json.loads(line) == {"event": "photo.added", "photo": photo.pk, "title": "Harbour", "by": "Ada"}


def test_the_sample_photos_get_thumbnails_and_tell_nobody(django_capture_on_commit_callbacks: Any) -> None:
    with isolated_queues() as queues:
        with django_capture_on_commit_callbacks(execute=True):
            hang_samples()
        queues.assert_pushed("thumbnails", count=len(SCENES))
        queues.assert_not_pushed("notify")
    newest = Photo.objects.first()
    assert newest is not None
    assert (Photo.objects.count(), newest.title) == (len(SCENES), SCENES[0].title)
    assert newest.picture.name.endswith(".jpg")


def test_the_job_makes_the_thumbnail_and_the_wall_shows_it(photo: Photo, settings: Any, client: Client) -> None:
    assert client.get(f"/photo/{photo.pk}/thumbnail.json").json() == {"url": None}
    make_thumbnail({"photo": photo.pk})
    with Image.open(Path(settings.MEDIA_ROOT) / f"thumbs/{photo.pk}.webp") as thumbnail:
        assert thumbnail.size == (SIZE, SIZE // 2)
    url = f"/media/thumbs/{photo.pk}.webp"
    assert client.get(f"/photo/{photo.pk}/thumbnail.json").json() == {"url": url}
    assert f'src="{url}"' in client.get("/").text
    assert b"".join(client.get(url).streaming_content).startswith(b"RIFF")


def test_the_thumbnail_job_may_run_twice_and_leaves_one_file(photo: Photo, settings: Any) -> None:
    make_thumbnail({"photo": photo.pk})
    make_thumbnail({"photo": photo.pk})
    assert [path.name for path in (Path(settings.MEDIA_ROOT) / "thumbs").iterdir()] == [f"{photo.pk}.webp"]


def test_the_thumbnail_of_a_deleted_photo_is_no_failure() -> None:
    make_thumbnail({"photo": 4711})


def test_a_file_that_is_no_picture_is_not_tried_again(photo: Photo) -> None:
    photo.picture.save("broken.png", ContentFile(b"no picture"))
    with pytest.raises(Discard):
        make_thumbnail({"photo": photo.pk})


def test_only_pictures_can_be_hung_up(visit: Any, waiting: Any) -> None:
    page = visit("/add/", {"title": "x", "by": "y", "picture": SimpleUploadedFile("x.svg", b"<svg/>")})
    assert page.status_code == 200
    assert 'class="wrong"' in page.text
    assert not Photo.objects.exists()
    assert waiting("thumbnails") == []


def test_an_uploaded_file_keeps_nothing_of_its_name_but_the_suffix(photo: Photo) -> None:
    assert photo.picture.name.startswith("photos/")
    assert photo.picture.name.endswith(".png")
    assert "nser" not in photo.picture.name


def test_a_comment_is_shown_escaped_and_mails_the_studio(visit: Any, photo: Photo, settings: Any) -> None:
    page = visit(f"/photo/{photo.pk}/", {"by": "Jonas", "text": "<b>Great</b>"})
    assert "&lt;b&gt;Great&lt;/b&gt;" in page.text
    (sent,) = mail.outbox
    assert sent.to == [settings.STUDIO]
    assert sent.subject == "Jonas has commented on “Harbour”"
    assert f"http://localhost:8000/photo/{photo.pk}/" in sent.body


def test_a_form_without_its_csrf_token_is_refused() -> None:
    assert Client(enforce_csrf_checks=True).post("/add/", {"title": "x"}).status_code == 403


def test_every_page_forbids_what_is_inline_or_from_elsewhere(client: Client, photo: Photo) -> None:
    for address in ("/", "/add/", f"/photo/{photo.pk}/", "/newsletter/", "/work/", "/outbox/"):
        page = client.get(address)
        assert page.status_code == 200, address
        assert page.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self';")
        assert "<style" not in page.text
        assert "style=" not in page.text
        assert "onclick" not in page.text
        assert page.text.count("<script") == page.text.count("<script src=")


def test_all_photos_come_in_one_file(client: Client, photo: Photo) -> None:
    assert b'href="/photos.tar"' in client.get("/").content
    answer = client.get("/photos.tar")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="photos.tar"'
    with tarfile.open(fileobj=io.BytesIO(b"".join(answer.streaming_content))) as archive:
        assert archive.getnames() == [photo.picture.name]
    answer.close()


def test_an_archive_of_photos_whose_files_are_gone_is_an_error(client: Client, photo: Photo) -> None:
    Path(photo.picture.path).unlink()
    with pytest.raises(ProcessFailed, match="tar"):
        client.get("/photos.tar")


def test_an_unknown_address_gets_a_page_of_the_site(client: Client) -> None:
    page = client.get("/nowhere/")
    assert page.status_code == 404
    assert "There is nothing here" in page.text


def test_style_and_scripts_are_served(client: Client) -> None:
    for name in ("site.css", "work.js", "wall.js", "icon.svg"):
        page = client.get(f"/static/lichtwand/{name}")
        assert page.status_code == 200, name
        assert b"".join(page.streaming_content)
