// Keeps the page about work up to date, once a second while it is looked at. Without this script, a reload does.
"use strict";

const live = document.getElementById("live");
const fresh = document.querySelector("[data-fresh]");
const banner = live.querySelector("[data-banner]");

const showQueue = ({ name, counts }) => {
  const row = live.querySelector(`[data-queue="${CSS.escape(name)}"]`);
  if (!row) return;
  for (const cell of row.querySelectorAll("[data-count]")) {
    const number = counts[cell.dataset.count];
    cell.textContent = number;
    cell.classList.toggle("none", number === 0);
  }
};

const showJob = (job) => {
  const row = live.querySelector(`[data-job="${job.pk}"]`);
  if (!row) return;
  row.dataset.was = job.state;
  row.querySelector('[data-field="state"]').textContent = job.state;
  row.querySelector('[data-field="tries"]').textContent = job.tries;
  row.querySelector('[data-field="percent"]').value = job.percent;
  for (const form of row.querySelectorAll("[data-if]")) form.hidden = !job[form.dataset.if];
};

const look = async () => {
  try {
    if (!document.hidden) {
      const state = await (await fetch(live.dataset.state)).json();
      // the table has no rows when the page was made without a runner
      if (state.runner && !live.querySelector("[data-queue]")) return location.reload();
      banner.hidden = state.runner;
      live.querySelector("[data-problem]").textContent = state.problem;
      state.queues.forEach(showQueue);
      state.jobs.forEach(showJob);
      fresh.textContent = `Up to date at ${new Date().toLocaleTimeString()}.`;
    }
  } catch (error) {
    fresh.textContent = "The site does not answer just now.";
  }
  setTimeout(look, 1000);
};

look();
