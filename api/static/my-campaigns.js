/** The page of an agent: the next number of a campaign, and the call to it. */
import { showCall } from "./dialled.js";
import { allElements, getElement } from "./dom.js";
import { toast, whenGone } from "./page.js";
import { Parts } from "./refreshing.js";

const LOOK_EVERY_MS = 3000;

/** @param {HTMLElement} root */
export function mount(root) {
  const parts = new Parts();
  root.addEventListener("acted", (event) => {
    const { detail } = /** @type {CustomEvent} */ (event);
    if (detail?.dial) showCall(detail);
    if (detail?.entry === null) toast(root.dataset.none);
  });
  const looking = setInterval(() => {
    announce(root);
    if (!document.hidden) parts.change("#my-campaigns");
  }, LOOK_EVERY_MS);
  whenGone(root, () => {
    parts.close();
    clearInterval(looking);
  });
}

/**
 * Let a screen reader say the present step once: the part itself is replaced again and again.
 *
 * @param {HTMLElement} root
 */
function announce(root) {
  const said = allElements(root, "[data-say]").map(({ textContent }) => textContent?.trim()).join(". ");
  const place = getElement(root, "[data-announce]");
  if (place.textContent !== said) place.textContent = said;
}
