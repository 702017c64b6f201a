// Puts thumbnails on the wall as the queue makes them. Without this script, a reload shows them.
"use strict";

const show = (place, url) => {
  const image = new Image();
  image.alt = place.dataset.alt;
  image.src = url;
  image.addEventListener("load", () => place.replaceWith(image));
};

const look = async (place) => {
  try {
    const { url } = await (await fetch(place.dataset.thumbnail)).json();
    if (url) return show(place, url);
  } catch (error) {
    // the site is being restarted: ask again
  }
  setTimeout(look, 1000, place);
};

document.querySelectorAll("[data-thumbnail]").forEach(look);
