/** The page of a campaign: its progress without reloading. */
import { getElement } from "./dom.js";
import { follow, whileSeen } from "./following.js";
import { whenGone } from "./page.js";
import { Parts } from "./refreshing.js";

const EVENTS = ["draft", "running", "paused", "stopped", "done"].map((state) => `campaign.${state}`);
const PARTS = ["#campaign-state", "#campaign-progress", "#campaign-agents"];
const LOOK_EVERY_MS = 5000;

/** @param {HTMLElement} root */
export function mount(root) {
  const parts = new Parts();
  const change = () => {
    for (const part of PARTS) parts.change(part);
  };
  const stream = whileSeen(() =>
    follow(EVENTS, {
      receive: ({ data }) => {
        if (data.id === root.dataset.campaign) change();
      },
      opened: (mayHaveGap) => {
        if (mayHaveGap) change();
      },
    }),
  );
  // Calls have no events of the campaign: look at their results while it runs.
  const looking = setInterval(() => {
    const isRunning = getElement(root, "#campaign-state").dataset.state === "running";
    if (isRunning && !document.hidden) change();
  }, LOOK_EVERY_MS);
  whenGone(root, () => {
    stream.close();
    parts.close();
    clearInterval(looking);
  });
}
